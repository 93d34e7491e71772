"""A run on a cluster is followed, read and ended by its handle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading
from flyteray._client.history.action import Action, WaitFor, check_wait_for, going_on
from flyteray._client.history.of_run import History
from flyteray._client.history.printed import printing
from flyteray._client.progress import Progress
from flyteray._client.runs import tree
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._declare.environment import without_meaning
from flyteray._handles import AsJson, Awaited
from flyteray._plan import failure
from flyteray._plan.actions.names import ROOT
from flyteray._plan.info import (
    BEFORE_IT_BEGINS,
    ActionPhase,
    RunInfo,
    to_json,
)
from flyteray._plan.runs import ALWAYS, RunFilter, TimeFilter, order_of, phases_of
from flyteray._plan.values.outputs import ActionOutputs
from flyteray.errors import ActionAbortedError, BaseRuntimeError, RuntimeSystemError, RuntimeUserError

_POLL_S = 10.0  # how long one question to the controller may wait
_LOOK_S = 2.0  # while the run waits for something itself
_SOON_S = 0.2  # where the beginning of the run is waited for, which nobody tells


def checked_name(owner: str, name: object) -> str:
    """A run's name as it is given to a verb; TypeError where it is no str."""
    if not isinstance(name, str):
        raise TypeError(f"{owner}: the name of a run must be a str, got {name!r}.")
    return name


class Run(History, Awaited, AsJson):
    """A run on a cluster. The handle is a name: it stays valid in other processes, through :meth:`get`."""

    def __init__(self, info: RunInfo) -> None:
        self._info = info

    @property
    def info(self) -> RunInfo:
        """The run when the handle last asked; ``sync`` asks anew."""
        return self._info

    @property
    def name(self) -> str:
        """The run's name on the cluster."""
        return self._info.name

    @property
    def run_name(self) -> str:
        """The run's name."""
        return self.name

    @property
    def _action(self) -> str:
        return ROOT

    @property
    def action(self) -> Action:
        """The handle of its root action."""
        return Action.get(run_name=self.name)

    @property
    def phase(self) -> ActionPhase:
        """The phase of the run now."""
        self.sync()
        return self._info.phase

    raw_phase = phase

    @property
    def cached(self) -> str | None:
        """The run whose result this one has, where its own task was not run for it; None else. Not of Flyte."""
        self.sync()
        return self._info.cached

    def done(self) -> bool:
        """Whether the run has ended, well or not."""
        return self.phase.is_terminal

    @MethodVerb
    async def sync(self) -> Run:
        """Ask the cluster how the run stands."""
        if not self._info.phase.is_terminal:
            self._info = await session().controller.runs.get(self.name)
        return self

    @MethodVerb
    async def wait(
        self, quiet: bool = False, wait_for: WaitFor = "terminal", *, logs: bool | None = None
    ) -> None:
        """Wait until the run has ended. A failed run does not raise here; see :meth:`outputs`.

        Ctrl+C ends the wait, not the run, and a line says so.

        Args:
            quiet: Say nothing on stderr: neither what the run itself waits for, nor in a terminal the tree of its
                actions as it grows.
            wait_for: ``"running"`` returns when the run's task has begun, or the run has ended.
            logs: Show on stderr what the tasks write, each line behind its action. Default: where stderr is a terminal
                and it is not to be quiet. Not of Flyte.

        Raises:
            ValueError: another thing to wait for.
        """
        check_wait_for(wait_for)
        asked = False if quiet and logs is None else logs
        with (
            Progress(f"run {self.name}", quiet, live=True) as progress,
            going_on(self.name, progress.say, quiet),
        ):
            async with (
                printing(self.name, progress.say, asked) as lines,
                tree.watching(self.name, progress, lines),
            ):
                await self._follow(progress, until_running=wait_for == "running")

    async def _follow(self, progress: Progress, until_running: bool = False) -> None:
        if until_running and not self._info.phase.is_terminal:
            await self.sync.aio()
        while not self._info.phase.is_terminal:
            begun = self._info.phase not in BEFORE_IT_BEGINS
            if begun and until_running:
                return
            patience = _POLL_S if begun and self._info.waiting is None else _LOOK_S
            self._info = await session().controller.runs.wait(
                self.name, _SOON_S if until_running else patience
            )
            progress.tell(self._info.waiting)

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """Wait for the run and return its outputs: ``outputs()[0]`` or ``outputs().o0`` is the first.

        Meanwhile a terminal shows what the tasks write; see :meth:`wait`.

        Arrays in them are read-only and shared by all processes of a node: copy before changing them.

        Raises:
            BaseRuntimeError: the run failed or was aborted; the original exception is the cause.
        """
        with (
            Progress(f"run {self.name}", quiet=False, live=False) as progress,
            going_on(self.name, progress.say),
        ):
            if not self._info.phase.is_terminal:
                async with printing(self.name, progress.say, None):
                    await self._follow(progress)
        await self.raise_for_status.aio()
        from flyteray._tasks.outputs import load_outputs, read_outputs  # deferred: it needs Ray

        if self._info.cached is None:
            return ActionOutputs(await asyncio.to_thread(load_outputs, self.name))
        root = session().connect().storage
        return ActionOutputs(await asyncio.to_thread(read_outputs, self.name, root))

    @MethodVerb
    async def raise_for_status(self) -> None:
        """Raise the error of a run that has not ended well.

        Raises:
            BaseRuntimeError: the run failed, was aborted, took too long or has not ended; of a failure the original
                exception is the cause.
        """
        await self.sync.aio()
        if (error := _error_of(self._info)) is not None:
            raise error

    @MethodVerb
    @not_while_loading("Run.abort")
    async def abort(self, reason: str = "Manually aborted from the SDK api.") -> None:
        """End the run and all of its actions; a run that has ended stays as it is."""
        await session().controller.runs.abort(self.name, reason)
        await self.sync.aio()

    @MethodVerb
    @not_while_loading("Run.abort_action")
    async def abort_action(self, action: str, reason: str = "Manually aborted from the SDK api.") -> None:
        """Have an action of the run end, and all below it; one that has ended stays as it is. Not of Flyte.

        Whoever has called it is raised :class:`ActionAbortedError` with the reason. That takes a moment, which is not
        waited for.

        Raises:
            ValueError: the run has no such action that has begun.
        """
        await session().controller.runs.abort_action(self.name, action, reason)

    @staticmethod
    @Verb
    @not_while_loading("Run.delete")
    async def delete(name: str) -> None:
        """Delete a run that has ended: its records, logs, inputs, outputs and the files that it has made. Not of Flyte.

        Files that ``with_runcontext(raw_data_path=...)`` has put elsewhere stay.

        Raises:
            RunNotFoundError: there is no run of that name.
            RuntimeUserError: it has not ended (its code is ``RunNotDoneError``), or an app, an artifact or a run that
                recovers it needs it (``RunNeededError``).
        """
        await session().controller.retention.delete(name)

    @staticmethod
    @Verb
    async def get(name: str) -> Run:
        """The run of that name; RunNotFoundError where there is none, TypeError where it is no str."""
        return Run(await session().controller.runs.get(checked_name("Run.get", name)))

    @staticmethod
    @ListVerb
    async def listall(
        in_phase: ActionPhase | str | Iterable[ActionPhase | str] | None = None,
        task_name: str | None = None,
        task_version: str | None = None,
        created_by_subject: str | None = None,
        sort_by: tuple[str, Literal["asc", "desc"]] | None = None,
        limit: int = 100,
        project: str | None = None,
        domain: str | None = None,
        created_at: TimeFilter | None = None,
        updated_at: TimeFilter | None = None,
        with_labels: dict[str, str] | None = None,
        with_label_keys: list[str] | None = None,
        paused_actions_only: bool = False,
    ) -> list[Run]:
        """Runs, newest first.

        Args:
            in_phase: Only in this phase, or one of these; ``queued`` is each before it begins.
            task_name: Only of this task (its full name).
            task_version: Only of this version of a task, that it was deployed as or that the run was given.
            created_by_subject, project, domain: Of Flyte's own services: they mean nothing here, and say so.
            sort_by: A field, ``"created_at"``, ``"updated_at"``, ``"started_at"``, ``"ended_at"``, ``"name"``,
                ``"task"`` or ``"phase"``, and ``"asc"`` or ``"desc"``.
            limit: At most that many.
            created_at: Only those that were asked for then.
            updated_at: Only those whose last change was then.
            with_labels: Only those with these labels.
            with_label_keys: Only those that have labels of these names.
            paused_actions_only: Only those that wait for a condition.

        Raises:
            ValueError: a word that is no phase, or no field.
        """
        without_projects("Run.listall", project, domain)
        if created_by_subject is not None:
            without_meaning("Run.listall", "created_by_subject")
        field, descending = order_of(sort_by)
        phases = phases_of(in_phase)
        asked = RunFilter(
            task=task_name,
            version=task_version,
            phases=(ActionPhase.PAUSED,) if paused_actions_only else phases,
            labels=with_labels or {},
            label_keys=tuple(with_label_keys or ()),
            created=created_at or ALWAYS,
            updated=updated_at or ALWAYS,
            sorted_by=field,
            descending=descending,
            limit=limit,
        )
        return [Run(info) for info in await session().controller.runs.listall(asked)]

    def to_dict(self) -> dict[str, Any]:
        """All that the handle knows, as plain values."""
        return to_json(self._info)

    def __repr__(self) -> str:
        return f"Run(name={self.name!r}, task={self._info.task!r}, phase={self._info.phase})"


def _error_of(info: RunInfo) -> BaseRuntimeError | None:
    """The error of a run that has not ended well; None where it has."""
    if not info.phase.is_terminal:
        return RuntimeUserError("RunNotDoneError", f"Run {info.name!r} is {info.phase}: wait() for it first.")
    if info.phase is ActionPhase.ABORTED:
        return ActionAbortedError(info.error.message if info.error else f"Run {info.name!r} was aborted.")
    if info.phase in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED):
        return None
    if info.error is not None:
        return failure.restore(info.error)
    return RuntimeSystemError(
        "UnknownRunFailure", f"Run {info.name!r} is {info.phase}, and nothing says why."
    )
