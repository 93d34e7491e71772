"""A run on a cluster is followed, read and ended by its handle."""

from __future__ import annotations

import asyncio
from typing import Literal

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading
from flyteray._client.progress import Progress
from flyteray._client.session.session import session
from flyteray._declare.near import did_you_mean
from flyteray._plan import failure, logs, reports
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionInfo, ActionPhase, RunInfo
from flyteray._plan.values.outputs import ActionOutputs
from flyteray.errors import ActionAbortedError
from flyteray.storage import open_storage

_POLL_S = 10.0  # how long one question to the controller may wait
_LOOK_S = 2.0  # while the run waits for something itself
_SOON_S = 0.2  # where the beginning of the run is waited for, which nobody tells


class Run:
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
    def url(self) -> str:
        """The place of the run's outputs and files in storage."""
        return f"{session().connect().storage}/runs/{self.name}"

    @property
    def phase(self) -> ActionPhase:
        """The phase of the run now."""
        self.sync()
        return self._info.phase

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
    async def wait(self, quiet: bool = False, wait_for: Literal["terminal", "running"] = "terminal") -> None:
        """Wait until the run has ended. A failed run does not raise here; see :meth:`outputs`.

        Args:
            quiet: Say nothing on stderr: neither what the run itself waits for, nor in a terminal that it goes on.
            wait_for: ``"running"`` returns when the run's task has begun, or the run has ended.

        Raises:
            ValueError: another thing to wait for.
        """
        if wait_for not in ("terminal", "running"):
            raise ValueError(f'wait_for must be "terminal" or "running", not {wait_for!r}.')
        with Progress(f"run {self.name}", quiet, live=True) as progress:
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

        Arrays in them are read-only and shared by all processes of a node: copy before changing them.

        Raises:
            BaseRuntimeError: the run failed or was aborted; the original exception is the cause.
        """
        with Progress(f"run {self.name}", quiet=False, live=False) as progress:
            await self._follow(progress)
        await self.raise_for_status.aio()
        from flyteray._tasks.outputs import load_outputs  # deferred: it needs Ray

        return ActionOutputs(await asyncio.to_thread(load_outputs, self.name))

    @MethodVerb
    async def raise_for_status(self) -> None:
        """Raise the error of a run that failed or was aborted; nothing otherwise."""
        await self.sync.aio()
        info = self._info
        if info.phase is ActionPhase.ABORTED:
            raise ActionAbortedError(info.error.message if info.error else f"Run {info.name!r} was aborted.")
        if info.error is not None:
            raise failure.restore(info.error)

    @MethodVerb
    @not_while_loading("Run.abort")
    async def abort(self, reason: str = "Manually aborted from the SDK api.") -> None:
        """End the run and all of its actions; a run that has ended stays as it is."""
        await session().controller.runs.abort(self.name, reason)
        await self.sync.aio()

    @MethodVerb
    async def actions(self) -> list[ActionInfo]:
        """The actions of the run, its root ``a0`` first."""
        return await session().controller.runs.actions(self.name)

    @MethodVerb
    async def get_logs(self, action: str = "a0", attempt: int | None = None) -> list[str]:
        """The lines that the run's task, or a child, has written: to standard output, then to standard error.

        They are in storage within two seconds, also when the node is gone that they were written on; what a process
        wrote in the two seconds before it was killed may be missing. Of more than 8 MiB to one of the two the middle is
        not kept, and a line says so.

        Args:
            action: Which one, as :meth:`actions` has it. Not of Flyte.
            attempt: Which of its attempts, counted from 1. Default: the last one that has written anything.

        Raises:
            ValueError: the run has no such action, or that has no such attempt.
            StorageError: the storage can't be read.
        """
        await self._check(action, attempt)
        storage = open_storage(session().connect().storage)
        return await asyncio.to_thread(logs.lines, storage, self.name, action, attempt)

    async def _check(self, action: str, attempt: int | None) -> None:
        """Raise ValueError where the run has no such action, or that has no such attempt."""
        # A process that dies at once has not told of its action; a run's own is there in any case.
        known = {"a0": 1} | {each.action: each.attempts for each in await self.actions.aio()}
        if action not in known:
            meant = did_you_mean(action, known)
            raise ValueError(f"Run {self.name!r} has no action {action!r} that has begun.{meant}")
        if attempt is not None and attempt not in range(1, known[action] + 1):
            raise ValueError(
                f"Action {action!r} of run {self.name!r} has no attempt {attempt!r}: it has had {known[action]}."
            )

    @MethodVerb
    async def show_logs(self, action: str = "a0", attempt: int | None = None, max_lines: int = 100) -> None:
        """Print the last ``max_lines`` of :meth:`get_logs`."""
        for line in (await self.get_logs.aio(action, attempt))[-max_lines:]:
            print(line)

    @MethodVerb
    async def get_report(self, action: str = "a0", attempt: int | None = None) -> str:
        """The report of the run's task, or of a child, as one HTML page that needs nothing else.

        While the task runs it is as it was when the task last called :func:`flyteray.report.flush`.

        Args:
            action: Which one, as :meth:`actions` has it. Not of Flyte.
            attempt: Which of its attempts, counted from 1. Default: the last one that has a report.

        Raises:
            ValueError: the run has no such action, or that has no such attempt.
            ReportNotFoundError: the attempt has none: its task is declared without ``report=True``, or has written
                none yet.
            StorageError: the storage can't be read.
        """
        await self._check(action, attempt)
        return await asyncio.to_thread(reports.read, open_storage(self.url), self.name, action, attempt)

    @staticmethod
    @Verb
    async def get(name: str) -> Run:
        """The run of that name; RunNotFoundError where there is none."""
        return Run(await session().controller.runs.get(name))

    @staticmethod
    @ListVerb
    async def listall(
        *, task_name: str | None = None, in_phase: ActionPhase | str | None = None, limit: int = 100
    ) -> list[Run]:
        """Runs, newest first.

        Args:
            task_name: Only of this task (its full name).
            in_phase: Only in this phase.
            limit: At most that many.
        """
        phase = ActionPhase(in_phase) if in_phase is not None else None
        found = await session().controller.runs.listall(task_name, phase, limit)
        return [Run(info) for info in found]

    def __repr__(self) -> str:
        return f"Run(name={self.name!r}, task={self._info.task!r}, phase={self._info.phase})"
