"""What every handle of an app can do, wherever the app runs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from flyteray._client.bridge import Verb
from flyteray._plan.info import AppPhase

Awaited = Literal["activated", "deactivated"]


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
        """What is observed now."""

    @property
    def desired_state(self) -> Literal["active", "stopped"]:
        """What was asked for last."""

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


def checked(wait_for: Awaited) -> Awaited:
    """What ``watch`` waits for.

    Raises:
        ValueError: another thing.
    """
    if wait_for not in get_args(Awaited):
        raise ValueError(f'wait_for must be "activated" or "deactivated", not {wait_for!r}.')
    return wait_for
