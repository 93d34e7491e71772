"""The handle of an app: its interface, and the methods that handles on a cluster and in local mode share."""

from __future__ import annotations

import contextlib
import textwrap
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

from flyteray._client.bridge import MethodVerb, Verb
from flyteray._plan import failure
from flyteray._plan.info import STARTUP_TIMEOUT, AppPhase, ErrorInfo
from flyteray.errors import ActivationTimeoutError, DeploymentError

Awaited = Literal["activated", "deactivated"]
H = TypeVar("H", bound="AppHandle")


@runtime_checkable
class AppHandle(Protocol):
    """An app that was served: on a cluster (:class:`flyteray.remote.App`) or in local mode.

    Methods that talk to the app block when they are called plainly and are awaited as ``handle.name.aio(...)``.
    """

    @property
    def name(self) -> str:
        """The app's name."""

    @property
    def url(self) -> str:
        """The address for browsers."""

    @property
    def endpoint(self) -> str:
        """The address for programs."""

    @property
    def revision(self) -> int:
        """Counts the versions of the app that were ever served."""

    @property
    def deployment_status(self) -> AppPhase:
        """The phase that is observed now."""

    @property
    def desired_state(self) -> Literal["active", "stopped"]:
        """The state that was asked for last."""

    def is_active(self) -> bool:
        """Whether the newest version takes requests."""

    def is_deactivated(self) -> bool:
        """Whether nothing of it runs because it was stopped."""

    @property
    def activate(self) -> Verb[..., Any]:
        """``activate(wait=False)``: start it where it does not run."""

    @property
    def deactivate(self) -> Verb[..., Any]:
        """``deactivate(wait=False)``: stop it; it can be activated again."""

    @property
    def wait(self) -> Verb[..., Any]:
        """``wait(timeout)``: return when it takes requests."""

    @property
    def watch(self) -> Verb[..., Any]:
        """``watch(wait_for="activated")``: return when it is what is waited for."""

    @property
    def show_logs(self) -> Verb[..., Any]:
        """``show_logs(max_lines=30)``: print what it writes, until it is stopped."""

    def ephemeral_ctx(self) -> AbstractAsyncContextManager[Any]:
        """Active inside ``async with``, stopped after it."""

    def ephemeral_ctx_sync(self) -> AbstractContextManager[Any]:
        """Active inside ``with``, stopped after it."""


@dataclass(frozen=True)
class LogQuery:
    """A question for log lines: the last ``max_lines`` of each stream of each replica, and new ones while ``follow``.

    ``raw`` leaves out which replica a line is of; ``filter_system`` leaves out what Ray Serve writes; ``replica_name``
    is the beginning of a replica's id.
    """

    max_lines: int = 30
    raw: bool = False
    filter_system: bool = False
    replica_name: str | None = None
    follow: bool = True


class EphemeralHandle:
    """A handle whose app may be active for the length of a block."""

    @contextlib.asynccontextmanager
    async def ephemeral_ctx(self: H) -> AsyncIterator[H]:
        """Active inside ``async with``, stopped after it, also when the block raises."""
        await self.activate.aio(wait=True)
        try:
            yield self
        finally:
            await self.deactivate.aio(wait=True)

    @contextlib.contextmanager
    def ephemeral_ctx_sync(self: H) -> Iterator[H]:
        """Active inside ``with``, stopped after it, also when the block raises."""
        self.activate(wait=True)
        try:
            yield self
        finally:
            self.deactivate(wait=True)


class BaseHandle(EphemeralHandle, ABC):
    """A handle of an app that runs: it shows what the app writes."""

    @abstractmethod
    def _lines(self, query: LogQuery) -> AsyncIterator[str]:
        """The lines, each without its end."""

    @staticmethod
    def _waits_until_active(wait_for: Awaited) -> bool:
        """Whether ``watch`` waits until the app serves, or until it has stopped; ValueError for anything else."""
        if wait_for not in get_args(Awaited):
            raise ValueError(f'wait_for must be "activated" or "deactivated", not {wait_for!r}.')
        return wait_for == "activated"

    @MethodVerb
    async def show_logs(
        self,
        max_lines: int = 30,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
        replica_name: str | None = None,
        follow: bool = True,
    ) -> None:
        """Print the end of what the app has written, and then what it writes until it is stopped.

        On a cluster it is read on the nodes of the replicas that live. Of others there is what they said before a start
        that failed, and otherwise what their node's log folder has.

        Args:
            max_lines: How many of the lines that are there, of each replica and stream.
            show_ts: The time at which a line was read before it.
            raw: Without the beginning of the replica's id before each line.
            filter_system: Without what Ray Serve writes.
            replica_name: Only of replicas whose id begins so; those of a deployment behind an app of Ray Serve's begin
                with its name. In local mode there is one, without a name.
            follow: False: only what is there. Not of Flyte.

        Raises:
            ValueError: no replica has such a name.
            RuntimeSystemError: the cluster's dashboard does not give the logs.
        """
        async for line in self._lines(LogQuery(max_lines, raw, filter_system, replica_name, follow)):
            print(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {line}" if show_ts else line, flush=True)


def start_error(app: str, error: ErrorInfo, rest: str) -> DeploymentError:
    """The error for an app that told why it could not start, and ``rest``; what the user's code raised is the cause."""
    raised: DeploymentError
    if error.code == STARTUP_TIMEOUT:
        raised = ActivationTimeoutError(f"App {app!r} failed to become active: {error.message}{rest}")
    else:
        raised = DeploymentError(f"App {app!r} could not start: {error.code}: {error.message}{rest}")
    raised.__cause__ = failure.restore(error)
    return raised


def last_lines(log: str) -> str:
    """The end of an app's log as it follows a message; nothing where there is none."""
    return f"\nLast lines of its log:\n{textwrap.indent(log.rstrip(), '  ')}" if log else ""
