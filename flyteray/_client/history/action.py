"""An action of a run is followed, read and ended by its handle."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading, was_interrupted
from flyteray._client.history import recorded
from flyteray._client.history.details import ActionDetails, place_of
from flyteray._client.history.readable import Readable
from flyteray._client.progress import Progress
from flyteray._client.session.session import session
from flyteray._client.streams import StreamVerb
from flyteray._declare.facts import ActionID
from flyteray._handles import AsJson, Awaited
from flyteray._plan.actions.names import ROOT
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionInfo, ActionPhase, to_json
from flyteray._plan.runs import TimeFilter, order_of, phases_of
from flyteray._plan.values.outputs import ActionOutputs

WaitFor = Literal["terminal", "running"]
_LOOK_S = (0.1, 2.0)  # at first, and at most
_SORTED_BY = ("created_at", "updated_at", "started_at", "ended_at", "name", "task", "phase")


class Action(Readable, Awaited, AsJson):
    """One call of a task in a run on a cluster. The handle stays valid in other processes, through :meth:`get`."""

    def __init__(self, info: ActionInfo) -> None:
        self._info = info

    @property
    def info(self) -> ActionInfo:
        """The action when the handle last asked; ``sync`` asks anew."""
        return self._info

    @property
    def name(self) -> str:
        """Its name, which no other action of the run has; that of the root is ``a0``."""
        return self._info.action

    @property
    def run_name(self) -> str:
        """The name of its run."""
        return self._info.run

    @property
    def _action(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """The place in storage of its outputs, logs and report."""
        return f"{super().url}/{self.name}"

    @property
    def action_id(self) -> ActionID:
        """Its name and that of its run."""
        return ActionID(self.name, self.run_name)

    @property
    def task_name(self) -> str:
        """The full name of its task."""
        return self._info.task

    @property
    def parent_name(self) -> str | None:
        """The name of the action that has called it; None for the root."""
        return self._info.parent

    @property
    def group(self) -> str | None:
        """The group that it was called in; see :func:`flyteray.group`. Not of Flyte."""
        return self._info.group

    @property
    def links(self) -> dict[str, str]:
        """The addresses that its task has for it, by their names; see :class:`flyteray.Link`. Not of Flyte."""
        return self._info.links

    @property
    def start_time(self) -> datetime | None:
        """When its function began; None where it has not."""
        return self._info.started_at

    @property
    def phase(self) -> ActionPhase:
        """Its phase now."""
        self.sync()
        return self._info.phase

    raw_phase = phase

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.phase.is_terminal

    @MethodVerb
    async def sync(self) -> Action:
        """Ask the cluster how the action stands."""
        if not self._info.phase.is_terminal:
            self._info = await recorded.find_action(self.run_name, self.name)
        return self

    @MethodVerb
    async def wait(self, quiet: bool = False, wait_for: WaitFor = "terminal") -> Action:
        """Wait until the action has ended; one that has failed does not raise here.

        Args:
            quiet: Say nothing on stderr while it is waited for.
            wait_for: ``"running"`` returns when its function has begun, or it has ended.

        Raises:
            ValueError: another thing to wait for.
        """
        check_wait_for(wait_for)
        pause, longest = _LOOK_S
        with (
            Progress(f"action {self.name} of run {self.run_name}", quiet, live=True) as progress,
            going_on(self.run_name, progress.say, quiet),
        ):
            while not (await self.sync.aio())._info.phase.is_terminal:
                if wait_for == "running" and self._info.phase not in BEFORE_IT_BEGINS:
                    break
                progress.tell(self._info.waiting)
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, longest)
        return self

    @StreamVerb
    async def watch(
        self, cache_data_on_done: bool = False, wait_for: WaitFor = "terminal"
    ) -> AsyncIterator[ActionDetails]:
        """The details of the action now, and again whenever they have changed, until it has ended.

        Args:
            cache_data_on_done: Changes nothing: inputs and outputs are read when they are asked for.
            wait_for: ``"running"`` ends with the first ones after its function has begun.

        Raises:
            ValueError: another thing to wait for.
        """
        check_wait_for(wait_for)
        known: tuple[ActionInfo, int] | None = None
        pause, longest = _LOOK_S
        while True:
            details = await self.details.aio()
            now = details.info, len(details.attempt_list)
            if now != known:
                yield details
                known, pause = now, _LOOK_S[0]
            begun = details.phase not in BEFORE_IT_BEGINS
            if details.done() or (wait_for == "running" and begun):
                return
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, longest)

    @MethodVerb
    @not_while_loading("Action.abort")
    async def abort(self, reason: str = "Manually aborted from the SDK.") -> None:
        """Have the action end, and all below it; one that has ended stays as it is.

        Whoever has called it is raised :class:`ActionAbortedError` with the reason. That takes a moment, which is not
        waited for. To abort the root is to abort the run.
        """
        runs = session().controller.runs
        if self.name == ROOT:
            await runs.abort(self.run_name, reason)
        else:
            await runs.abort_action(self.run_name, self.name, reason)

    @MethodVerb
    async def details(self) -> ActionDetails:
        """All that is recorded of it, as it stands now."""
        return await ActionDetails.get.aio(run_name=self.run_name, name=self.name)

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """Wait for the action and return its outputs.

        Raises:
            BaseRuntimeError: it has failed or was aborted.
            OutputNotFoundError: they can't be read here.
        """
        with going_on(self.run_name, functools.partial(print, file=sys.stderr, flush=True)):
            await self.wait.aio(quiet=True)
        return await (await self.details.aio()).outputs.aio()

    @staticmethod
    @Verb
    async def get(uri: str | None = None, /, run_name: str | None = None, name: str | None = None) -> Action:
        """The handle of an action; arguments and errors as of :meth:`ActionDetails.get`."""
        return Action(await recorded.find_action(*place_of(uri, run_name, name)))

    @staticmethod
    @ListVerb
    async def listall(
        for_run_name: str,
        in_phase: ActionPhase | str | Iterable[ActionPhase | str] | None = None,
        parent_name: str | None = None,
        sort_by: tuple[str, Literal["asc", "desc"]] | None = None,
        created_at: TimeFilter | None = None,
        updated_at: TimeFilter | None = None,
    ) -> list[Action]:
        """The actions of a run: the root first, the others as they began.

        Args:
            for_run_name: The run.
            in_phase: Only in this phase, or one of these; ``queued`` is each before it begins.
            parent_name: Only those that this action has called.
            sort_by: A field, such as ``"created_at"``, ``"started_at"`` or ``"name"``, and ``"asc"`` or ``"desc"``.
            created_at: Only those that were called then.
            updated_at: Only those whose last change was then.

        Raises:
            RunNotFoundError: there is no such run.
            ValueError: a word that is no phase, or no field.
        """
        phases = phases_of(in_phase)
        found = [
            info
            for info in await session().controller.runs.actions(for_run_name)
            if (not phases or _is_in(info, phases))
            and parent_name in (None, info.parent)
            and (created_at is None or created_at.has(info.created_at))
            and (updated_at is None or updated_at.has(_updated(info)))
        ]
        if sort_by is not None:
            field, descending = order_of(sort_by, _SORTED_BY)
            found = _sorted(found, field, descending)
        return [Action(info) for info in found]

    def to_dict(self) -> dict[str, Any]:
        """All that the handle knows, as plain values."""
        return to_json(self._info)

    def __repr__(self) -> str:
        info = self._info
        return f"Action(run={info.run!r}, name={info.action!r}, task={info.task!r}, phase={info.phase})"


def check_wait_for(wait_for: str) -> None:
    """Raise ValueError where nobody can wait for that."""
    if wait_for not in ("terminal", "running"):
        raise ValueError(f'wait_for must be "terminal" or "running", not {wait_for!r}.')


@contextlib.contextmanager
def going_on(run: str, say: Callable[[str], None], quiet: bool = False) -> Iterator[None]:
    """Say, unless ``quiet``, where Ctrl+C ends the wait in here that it does not end the run, and what does."""
    try:
        yield
    except asyncio.CancelledError:
        if was_interrupted() and not quiet:
            say(f"Run {run} goes on; `flyteray abort run {run}` ends it.")
        raise


def _is_in(info: ActionInfo, phases: tuple[ActionPhase, ...]) -> bool:
    return info.phase in phases or (ActionPhase.QUEUED in phases and info.phase in BEFORE_IT_BEGINS)


def _updated(info: ActionInfo) -> datetime | None:
    return info.ended_at or info.started_at or info.created_at


def _sorted(found: list[ActionInfo], field: str, descending: bool) -> list[ActionInfo]:
    name = "action" if field == "name" else field
    key: Callable[[ActionInfo], Any] = _updated if field == "updated_at" else attrgetter(name)
    there = sorted((info for info in found if key(info) is not None), key=key, reverse=descending)
    return there + [info for info in found if key(info) is None]
