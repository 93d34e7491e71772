"""The history of a local run is kept in memory, while its handle is, and told as that of a run on a cluster."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from flyteray._client.bridge import ListMethodVerb, MethodVerb, warn_caller
from flyteray._client.history.action import Action
from flyteray._client.history.details import ActionDetails
from flyteray._client.history.readable import Readable
from flyteray._declare import context
from flyteray._declare.facts import ActionID, CodeBundle, Owner
from flyteray._declare.near import did_you_mean
from flyteray._plan.actions import reports
from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.traces import TraceNote
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo, RunInfo
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs
from flyteray.errors import CodeBundleError, InitializationError, OutputNotFoundError, RuntimeUserError
from flyteray.storage import open_storage


@dataclass(slots=True)
class _Attempt:
    """A try of an action; times are seconds since the epoch."""

    began: float | None
    ended: float | None = None
    phase: ActionPhase = ActionPhase.RUNNING
    error: str | None = None


@dataclass(slots=True)
class _Called:
    """A call of a task, or of a traced function."""

    parent: str | None
    task: str
    group: str | None = None
    at: float = field(default_factory=time.time)
    attempts: list[_Attempt] = field(default_factory=list)
    cached: str | None = None

    @property
    def phase(self) -> ActionPhase:
        return self.attempts[-1].phase if self.attempts else ActionPhase.QUEUED

    @property
    def error(self) -> str | None:
        return self.attempts[-1].error if self.attempts else None


class LocalHistory:
    """The actions of a local run and how each attempt went.

    Attributes:
        run: The run's name.
        owner: Whose it is.
        folder: Where its files and reports are.
    """

    def __init__(self, run: str, task: str, owner: Owner, folder: Path, labels: dict[str, str]) -> None:
        self.run = run
        self.owner = owner
        self.folder = folder
        self._labels = labels
        self._called = {ROOT: _Called(None, task)}

    def call(self, action: str, parent: str, task: str, group: str | None) -> None:
        """Note that an action was called; one that has succeeded before is not run again."""
        known = self._called.get(action)
        if known is None or known.phase is not ActionPhase.SUCCEEDED:
            self._called[action] = _Called(parent, task, group)

    def begin(self, action: str) -> None:
        """Note that an attempt begins."""
        self._called[action].attempts.append(_Attempt(time.time()))

    def end(self, action: str, phase: ActionPhase, error: str | None) -> None:
        """Note how the last attempt of an action has ended, and why."""
        attempts = self._called[action].attempts
        if not attempts or attempts[-1].ended is not None:  # it did not begin
            attempts.append(_Attempt(None))
        attempts[-1].ended, attempts[-1].phase, attempts[-1].error = time.time(), phase, error

    def reuse(self, action: str, cached: str) -> None:
        """Note that an action has the result of another run."""
        self._called[action].cached = cached
        self.end(action, ActionPhase.SUCCEEDED, None)

    def note(self, note: TraceNote) -> None:
        """Note what a trace tells of itself."""
        ended = time.time() if note.phase.is_terminal else None
        self._called[note.action] = _Called(
            note.parent,
            note.name,
            context.group_name(),
            at=note.began,
            attempts=[_Attempt(note.began, ended, note.phase, note.error)],
        )

    def info(self) -> RunInfo:
        """The run as it stands."""
        root = self._info(ROOT, self._called[ROOT])
        assert root.created_at is not None
        return RunInfo(
            name=self.run,
            task=root.task,
            phase=root.phase,
            created_at=root.created_at,
            started_at=root.started_at,
            ended_at=root.ended_at,
            labels=self._labels,
            cached=root.cached,
        )

    def actions(self) -> list[ActionInfo]:
        """All actions as they stand, the root first."""
        return [self._info(action, called) for action, called in list(self._called.items())]

    def action(self, action: str) -> ActionInfo:
        """An action as it stands; ValueError where the run has no such one."""
        return self._info(action, self._find(action))

    def attempts(self, action: str) -> list[AttemptInfo]:
        """The attempts of an action, the first one first; ValueError where the run has no such action."""
        return [
            AttemptInfo(
                run=self.run,
                action=action,
                attempt=number,
                phase=each.phase,
                started_at=_utc(each.began),
                ended_at=_utc(each.ended),
                error=each.error,
            )
            for number, each in enumerate(self._find(action).attempts, start=1)
        ]

    def _find(self, action: str) -> _Called:
        found = self._called.get(action)
        if found is None:
            raise ValueError(
                f"Run {self.run!r} has no action {action!r} that has begun.{did_you_mean(action, self._called)}"
            )
        return found

    def _info(self, action: str, called: _Called) -> ActionInfo:
        last = called.attempts[-1] if called.attempts else None
        return ActionInfo(
            run=self.run,
            action=action,
            parent=called.parent,
            task=called.task,
            phase=called.phase,
            attempts=len(called.attempts),
            started_at=_utc(called.attempts[0].began) if called.attempts else None,
            ended_at=_utc(last.ended) if last else None,
            error=called.error,
            group=called.group,
            created_at=_utc(called.at),
            cached=called.cached,
        )


@dataclass(frozen=True)
class LocalValues:
    """The history of a local run that has succeeded, with the inputs and outputs of its own task."""

    history: LocalHistory
    inputs: ActionInputs
    outputs: ActionOutputs

    def inputs_of(self, action: str) -> ActionInputs:
        """The inputs of an action; RuntimeUserError where they are not kept."""
        if action == ROOT:
            return self.inputs
        raise RuntimeUserError("InputsNotKept", f"The inputs of action {action!r} are not kept: {_OWN}")

    def outputs_of(self, action: str) -> ActionOutputs:
        """The outputs of an action; OutputNotFoundError where they are not kept."""
        if action == ROOT:
            return self.outputs
        raise OutputNotFoundError(f"The outputs of action {action!r} are not kept: {_OWN}")


_OWN = "a local run keeps those of its own task. On a cluster those of all are."


class LocalReadable(Readable):
    """What handles of local runs and of their actions can both be asked."""

    _values: LocalValues

    @property
    def url(self) -> str:
        """The folder of its files and reports."""
        return self._values.history.folder.as_uri()

    @MethodVerb
    async def inputs(self) -> ActionInputs:
        """The task's inputs by name, defaults left out.

        Raises:
            RuntimeUserError: it is a child: a local run keeps those of its own task. The code is ``InputsNotKept``.
        """
        return self._values.inputs_of(self._action)

    @ListMethodVerb
    async def get_logs(
        self,
        attempt: int | None = None,
        filter_system: bool = False,
        show_ts: bool = False,
        *,
        action: str | None = None,
    ) -> list[str]:
        """Raise InitializationError: the tasks of a local run write to the output of this process."""
        _refuse_logs(self.run_name)

    @MethodVerb
    async def show_logs(
        self,
        attempt: int | None = None,
        max_lines: int = 100,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
        *,
        action: str | None = None,
        follow: bool = False,
    ) -> None:
        """Raise InitializationError, as :meth:`get_logs`."""
        _refuse_logs(self.run_name)

    @MethodVerb
    async def get_report(self, attempt: int | None = None, *, action: str | None = None) -> str:
        """The report of the task, or of a child, as HTML; arguments and errors as of :meth:`Run.get_report`.

        Where the task fails there is no handle; a warning names the file then.
        """
        history = self._values.history
        name = action or self._action
        return await asyncio.to_thread(reports.read, open_storage(history.folder), history.run, name, attempt)

    @MethodVerb
    async def code_bundle(self) -> CodeBundle | None:
        """None: nothing is shipped to this process."""
        return None

    @MethodVerb
    async def download_code(
        self, dest: str | Path | None = None, extract: bool = True, attempt: int | None = None
    ) -> Path:
        """Raise CodeBundleError: nothing is shipped to this process."""
        raise CodeBundleError(f"No code was shipped for run {self.run_name!r}: it ran in this process.")

    @MethodVerb
    async def get_debug_url(self) -> str | None:
        """None, with a warning: a debugger is attached to this process."""
        warn_caller("A local run has no debug URL: its tasks run in this process, as under its debugger.")
        return None


class LocalActionDetails(ActionDetails):
    """An action of a local run."""

    def __init__(self, values: LocalValues, action: str) -> None:
        history = values.history
        super().__init__(history.action(action), history.attempts(action), history.info(), history.owner)
        self._values = values

    @MethodVerb
    async def logs_available(self, attempt: int | None = None) -> bool:
        """False: the tasks of a local run write to the output of this process."""
        return False

    @MethodVerb
    async def inputs(self) -> ActionInputs:
        """Its inputs by name; errors as of :meth:`LocalReadable.inputs`."""
        return self._values.inputs_of(self.name)

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """Its outputs.

        Raises:
            BaseRuntimeError: it has failed or was aborted.
            OutputNotFoundError: it is a child: a local run keeps those of its own task.
        """
        self.raise_for_status()
        return self._values.outputs_of(self.name)


class LocalAction(LocalReadable, Action):
    """An action of a local run, which has ended."""

    def __init__(self, values: LocalValues, action: str) -> None:
        super().__init__(values.history.action(action))
        self._values = values

    @property
    def url(self) -> str:
        """The folder of its files and reports."""
        return f"{super().url}/{self.name}"

    @property
    def action_id(self) -> ActionID:
        """Its name, that of its run, and whose that is."""
        return ActionID(self.name, self.run_name, *self._values.history.owner)

    @MethodVerb
    async def details(self) -> ActionDetails:
        """All that is recorded of it."""
        return LocalActionDetails(self._values, self.name)

    @MethodVerb
    async def abort(self, reason: str = "") -> None:
        """Nothing to abort."""


def _refuse_logs(run: str) -> NoReturn:
    raise InitializationError(
        "LogsNotKept",
        "user",
        f"The tasks of local run {run!r} wrote to the output of this process, and no logs of it are kept. On a cluster "
        "they are: run without mode='local'.",
    )


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
