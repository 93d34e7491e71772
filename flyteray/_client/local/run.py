"""A local run executes its tasks in the calling process, without Ray: for a debugger and for unit tests."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import logging
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from flyteray._client.bridge import MethodVerb, loop_runs_here
from flyteray._client.local.secrets import LocalSecrets
from flyteray._declare import context
from flyteray._declare.tasks.task import Task
from flyteray._machine.threads import in_thread
from flyteray._plan import failure, reports
from flyteray._plan.info import ActionPhase
from flyteray._plan.reports import KeptReport
from flyteray._plan.retry import retry_delay, retry_spec
from flyteray._plan.spec import TaskPlan
from flyteray._plan.values import inputs
from flyteray._plan.values.outputs import ActionOutputs, as_outputs, exits_well
from flyteray._report.report import Report, unseen
from flyteray._settings import Settings
from flyteray.errors import RemoteTaskUsageError
from flyteray.storage import open_storage

logger = logging.getLogger(__name__)


class LocalRun:
    """The handle of a run that has already succeeded: a failing task raises from ``run`` itself."""

    def __init__(self, name: str, folder: Path, outputs: tuple[Any, ...], started_at: datetime) -> None:
        self.name = name
        self._folder = folder
        self.started_at = started_at
        self.url = folder.as_uri()
        self.phase = ActionPhase.SUCCEEDED
        self._outputs_value = outputs

    def done(self) -> bool:
        """True: a local run has ended when there is a handle of it."""
        return True

    @MethodVerb
    async def wait(self, quiet: bool = False) -> None:
        """Nothing to wait for."""

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """The task's outputs."""
        return ActionOutputs(self._outputs_value)

    @MethodVerb
    async def raise_for_status(self) -> None:
        """Nothing to raise."""

    @MethodVerb
    async def abort(self, reason: str = "") -> None:
        """Nothing to abort."""

    @MethodVerb
    async def get_report(self, action: str = "a0", attempt: int | None = None) -> str:
        """The report of the task, or of a child, as HTML; arguments and errors as of :meth:`Run.get_report`.

        Where the task fails there is no handle; a warning names the file then.
        """
        return await asyncio.to_thread(reports.read, open_storage(self._folder), self.name, action, attempt)

    def report_file(self, action: str = "a0", attempt: int | None = None) -> Path:
        """The file of :meth:`get_report`."""
        return self._folder / reports.find(open_storage(self._folder), self.name, action, attempt)

    def __repr__(self) -> str:
        return f"LocalRun(name={self.name!r}, phase={self.phase})"


async def run_locally(
    name: str, task: Task[..., Any], arguments: dict[str, Any], settings: Settings, owner: context.Owner
) -> LocalRun:
    """Run a task to its end in this process; raises what it raises.

    A sync task runs on this thread where no event loop does, else on one of its own.
    """
    folder = settings.home / "local" / name
    started_at = datetime.now(timezone.utc)
    secrets = LocalSecrets(settings)
    runtime = _LocalRuntime(name, "a0", folder, secrets, owner)
    try:
        if task.is_async or loop_runs_here():
            value = await runtime.run(task, arguments)
        else:
            value = runtime.run_here(task, arguments)
    finally:
        secrets.withdraw()
    run = LocalRun(name, folder, as_outputs(task, value), started_at)
    local_runs().add(task.name, run)
    return run


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


@dataclass
class _LocalRuntime:
    """The ``context.runtime`` of an action of a local run: children are calls in this process."""

    run_name: str
    action: str
    folder: Path
    secrets: LocalSecrets
    owner: context.Owner

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a sync child on this thread."""
        return self._child().run_here(task, inputs.bind(task, args, kwargs))

    async def acall(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child beside the others; a sync one on a thread of its own."""
        return await self._child().run(task, inputs.bind(task, args, kwargs))

    async def acall_deployed(self, plan: TaskPlan, inputs: dict[str, Any]) -> Any:
        """Refuse: the code of a deployed task is on its cluster."""
        raise RemoteTaskUsageError(
            f"Deployed task {plan.name!r} runs on its cluster only, and this run is local: run without "
            'mode="local", or import the task.'
        )

    def _child(self) -> _LocalRuntime:
        return replace(self, action=f"{self.action}.{next(self._numbers)}")

    def run_here(self, task: Task[..., Any], arguments: dict[str, Any]) -> Any:
        """Run a sync task on this thread, which a debugger may be attached to."""
        for attempt in itertools.count():
            report = self._report(task, attempt)
            outcome = self._context(task, attempt, report).run(_try_sync, task, arguments)
            self._end(task, report, outcome.error)
            if (delay := outcome.delay(task, attempt)) is None:
                return outcome.value
            time.sleep(delay)
        raise AssertionError

    async def run(self, task: Task[..., Any], arguments: dict[str, Any]) -> Any:
        """Run a task on this loop, or a sync one on a thread of its own."""
        for attempt in itertools.count():
            outcome = await self._attempt(task, arguments, attempt)
            if (delay := outcome.delay(task, attempt)) is None:
                return outcome.value
            await asyncio.sleep(delay)
        raise AssertionError

    async def _attempt(self, task: Task[..., Any], arguments: dict[str, Any], attempt: int) -> _Outcome:
        report = self._report(task, attempt)
        try:
            outcome = await self._outcome(task, arguments, self._context(task, attempt, report))
        except asyncio.CancelledError as error:
            self._end(task, report, error)
            raise
        self._end(task, report, outcome.error)
        return outcome

    async def _outcome(
        self, task: Task[..., Any], arguments: dict[str, Any], bound: contextvars.Context
    ) -> _Outcome:
        if task.is_async:
            return await bound.run(asyncio.ensure_future, _try_async(task, arguments))
        # Not an executor's thread: Ctrl+C is to end the process.
        outcome, _ = in_thread(functools.partial(bound.run, _try_sync, task, arguments), "flyteray-task")
        return await asyncio.wrap_future(outcome)

    def _report(self, task: Task[..., Any], attempt: int) -> Report:
        """The report of an attempt; one that nobody sees where its task makes none."""
        if not task.report:
            return unseen()
        opened = functools.partial(open_storage, self.folder)
        return KeptReport(task.name, self.run_name, self.action, attempt + 1, opened)

    def _end(self, task: Task[..., Any], report: Report, error: BaseException | None) -> None:
        """Write the report of an attempt for the last time, and say where it is when the attempt has failed."""
        if not isinstance(report, KeptReport):
            return
        if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
            report.end(ActionPhase.ABORTED)
        elif error is None:
            report.end(ActionPhase.SUCCEEDED)
        elif report.end(ActionPhase.FAILED, failure.describe(error).summary):
            logger.warning("The report of %s, which failed, is %s", task.name, self.folder / report.key)

    def _context(self, task: Task[..., Any], attempt: int, report: Report) -> contextvars.Context:
        """The context of an attempt of a task, whose secrets are there."""
        self.secrets.deliver(task.secret_list())
        bound = contextvars.copy_context()
        bound.run(context.runtime.set, self)
        action = context.ActionID(self.action, self.run_name, *self.owner)
        data = context.RawDataPath(str(self.folder / self.action / "data"))
        bound.run(
            context.task_context.set, context.TaskContext(action, "local", attempt, data, report=report)
        )
        return bound


class _Outcome(NamedTuple):
    """The outcome of one attempt. An error is a value here: asyncio does not carry every exception."""

    value: Any = None
    error: BaseException | None = None

    def delay(self, task: Task[..., Any], attempt: int) -> float | None:
        """Seconds until the next attempt, None where this one is good; raises a final error with the user's frames."""
        error = self.error
        if error is None:
            return None
        if isinstance(error, KeyboardInterrupt):
            raise error  # of somebody's Ctrl+C
        shown = failure.as_flyteray(error)
        delay = retry_delay(shown, retry_spec(task.retries), attempt)
        if delay is None:
            cause = error if shown is not error else error.__cause__
            raise shown.with_traceback(error.__traceback__) from cause
        return delay


def _try_sync(task: Task[..., Any], arguments: dict[str, Any]) -> _Outcome:
    try:
        return _Outcome(inputs.check_output(task, task.func(**arguments)))
    except BaseException as error:  # noqa: BLE001  # the policy decides
        return _outcome_of(task, error)


async def _try_async(task: Task[..., Any], arguments: dict[str, Any]) -> _Outcome:
    try:
        return _Outcome(inputs.check_output(task, await task.func(**arguments)))
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        return _outcome_of(task, error)
    except BaseException as error:  # noqa: BLE001  # as above; SystemExit would end the event loop's thread
        return _outcome_of(task, error)


def _outcome_of(task: Task[..., Any], error: BaseException) -> _Outcome:
    if isinstance(error, SystemExit) and exits_well(task, error):
        return _Outcome()
    return _Outcome(error=error)


def _is_cancelled() -> bool:
    """Whether somebody cancelled the coroutine that runs, rather than that it raised so itself."""
    current = asyncio.current_task()
    return sys.version_info < (3, 11) or current is None or current.cancelling() > 0
