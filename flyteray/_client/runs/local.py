"""A local run is read by its handle, as one on a cluster is."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from weakref import WeakValueDictionary

from flyteray._client.bridge import MethodVerb
from flyteray._client.history.action import WaitFor, check_wait_for
from flyteray._client.history.details import ActionDetails, RunDetails
from flyteray._client.history.local import LocalAction, LocalActionDetails, LocalReadable, LocalValues
from flyteray._client.runs.handle import Run
from flyteray._client.streams import StreamVerb
from flyteray._plan.actions import reports
from flyteray._plan.actions.names import ROOT
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo, NoticeInfo
from flyteray._plan.values.outputs import ActionOutputs
from flyteray.errors import InitializationError
from flyteray.storage import open_storage


class LocalRun(LocalReadable, Run):
    """The handle of a run that has already succeeded in this process: a failing task raises from ``run`` itself.

    Nothing but the handle has its history, so that this goes with it.
    """

    def __init__(self, values: LocalValues) -> None:
        super().__init__(values.history.info())
        self._values = values

    @property
    def started_at(self) -> datetime:
        """When it was asked for."""
        return self._info.created_at

    @property
    def phase(self) -> ActionPhase:
        """The phase: a local run has succeeded when there is a handle of it."""
        return self._info.phase

    raw_phase = phase

    @property
    def cached(self) -> str | None:
        """The run whose result it has, where its own task was not run for it; None else."""
        return self._info.cached

    @property
    def action(self) -> LocalAction:
        """The handle of its root action."""
        return LocalAction(self._values, ROOT)

    @MethodVerb
    async def wait(
        self, quiet: bool = False, wait_for: WaitFor = "terminal", *, logs: bool | None = None
    ) -> None:
        """Nothing to wait for."""
        check_wait_for(wait_for)

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """The task's outputs."""
        return self._values.outputs

    @MethodVerb
    async def abort(self, reason: str = "") -> None:
        """Nothing to abort."""

    @MethodVerb
    async def abort_action(self, action: str, reason: str = "") -> None:
        """Nothing to abort; ValueError where the run has no such action."""
        self._values.history.action(action)

    @MethodVerb
    async def actions(self) -> list[ActionInfo]:
        """The actions of the run, its root ``a0`` first."""
        return self._values.history.actions()

    @MethodVerb
    async def attempts(self, action: str = ROOT) -> list[AttemptInfo]:
        """The attempts of the run's task, or of a child, as of :meth:`Run.attempts`."""
        return self._values.history.attempts(action)

    @MethodVerb
    async def notifications(self) -> list[NoticeInfo]:
        """Raise InitializationError: whether those of a local run have arrived is not recorded."""
        raise InitializationError(
            "NotificationsNotKept",
            "user",
            f"Which notifications of local run {self.name!r} have arrived is not recorded: the log warns of those that "
            "have not.",
        )

    @MethodVerb
    async def details(self) -> RunDetails:
        """All that is known of the run and its actions."""
        return RunDetails(self._info, self._details(ROOT), self._values.history.actions())

    @StreamVerb
    async def watch(self, cache_data_on_done: bool = False) -> AsyncIterator[ActionDetails]:
        """The details of the root action, once: it has ended."""
        yield self._details(ROOT)

    def report_file(self, action: str = ROOT, attempt: int | None = None) -> Path:
        """The file of :meth:`get_report`."""
        folder = self._values.history.folder
        return folder / reports.find(open_storage(folder), self.name, action, attempt)

    async def _details_of(self, action: str) -> ActionDetails:
        return self._details(action)

    def _details(self, action: str) -> LocalActionDetails:
        return LocalActionDetails(self._values, action)

    def __repr__(self) -> str:
        return f"LocalRun(name={self.name!r}, phase={self.phase})"


class LocalRuns:
    """The local runs of this process whose outputs it still has, for the apps that it serves in local mode."""

    def __init__(self) -> None:
        self.by_name: WeakValueDictionary[str, LocalRun] = WeakValueDictionary()
        self.newest: dict[str, LocalRun] = {}  # of each task, by its full name

    def add(self, task: str, run: LocalRun) -> None:
        """Add a run that has succeeded. The newest of each task is kept, of the others those that somebody holds."""
        self.by_name[run.name] = run
        self.newest[task] = run

    def find(self, name: str | None, task: str | None) -> LocalRun | None:
        """The run of that name, or without one the newest of a task."""
        return self.newest.get(task or "") if name is None else self.by_name.get(name)


@functools.cache
def local_runs() -> LocalRuns:
    """The local runs of this process."""
    return LocalRuns()
