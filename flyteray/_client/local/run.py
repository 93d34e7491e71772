"""A local run executes its tasks in the calling process, without Ray: for a debugger and for unit tests."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from flyteray import _logging
from flyteray._client.bridge import loop_runs_here
from flyteray._client.history.local import LocalHistory, LocalValues
from flyteray._client.local.furnishing import LocalSecrets, LocalVariables
from flyteray._client.local.limits import ends_in_time, interrupt_thread, interrupted_here
from flyteray._client.local.replays import LocalReplays
from flyteray._client.local.results import LocalResults, Reuse
from flyteray._client.local.room import LocalPlaces
from flyteray._client.runs.local import LocalRun, local_runs
from flyteray._declare import context
from flyteray._declare.facts import ActionID, Owner, RawDataPath
from flyteray._declare.options.documentation import Link
from flyteray._declare.tasks.task import Task
from flyteray._machine.threads import in_thread
from flyteray._plan import failure
from flyteray._plan.actions.limits import Expiry, Limits, limits_of, timeout_spec
from flyteray._plan.actions.names import ROOT, ActionNames
from flyteray._plan.actions.reports import KeptReport
from flyteray._plan.actions.retry import Retries, retry_spec
from flyteray._plan.actions.room import EndlessRoom, Room
from flyteray._plan.actions.traces import Traces
from flyteray._plan.cache.results import Found
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import RunWide, TaskPlan
from flyteray._plan.values import inputs
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs, as_outputs, as_value, exits_well
from flyteray._plan.values.stand_in import taken, taken_async
from flyteray._report.report import Report, unseen
from flyteray._settings import Settings
from flyteray._traces.spans import Span, begin
from flyteray.errors import RemoteTaskUsageError, TaskTimeoutError
from flyteray.io.checkpoint import Checkpoint
from flyteray.storage import open_storage

logger = logging.getLogger(__name__)


async def run_locally(
    name: str,
    task: Task[..., Any],
    arguments: dict[str, Any],
    settings: Settings,
    owner: Owner,
    wide: RunWide,
    labels: dict[str, str],
) -> LocalRun:
    """Run a task to its end in this process; raises what it raises.

    ``wide`` is what its tasks find, and its handle has the ``labels``.

    A sync task runs on this thread where no event loop does, else on one of its own.
    """
    folder = settings.home / "local" / name
    history = LocalHistory(name, task.name, owner, folder, labels)
    secrets, variables = LocalSecrets(settings), LocalVariables(wide.env_vars)
    results = LocalResults(settings, name, wide.caching, owner)
    reuse = results.reuse(task, arguments)
    facts = _facts_of_run(name, folder, owner, wide)
    places = LocalPlaces(wide.max_action_concurrency)
    runtime = _LocalRuntime(
        name,
        ROOT,
        folder,
        secrets,
        variables,
        facts,
        results,
        LocalReplays(folder),
        history,
        places,
        EndlessRoom(),
    )
    try:
        with _logging.as_said_by(wide.env_vars):
            if task.is_async or loop_runs_here():
                value = await runtime.run(task, arguments, reuse)
            else:
                value = runtime.run_here(task, arguments, reuse)
    finally:
        secrets.withdraw()
        variables.withdraw()
    run = LocalRun(LocalValues(history, ActionInputs(arguments), ActionOutputs(as_outputs(task, value))))
    local_runs().add(task.name, run)
    return run


def _facts_of_run(name: str, folder: Path, owner: Owner, wide: RunWide) -> context.TaskContext:
    root = f"{wide.raw_data_path}/{name}" if wide.raw_data_path else str(folder)
    return context.TaskContext(
        ActionID(ROOT, name, *owner),
        "local",
        raw_data_path=RawDataPath(root),
        run_base_dir=str(folder),
        disable_run_cache=wide.caching.disabled,
        run_start_time=wide.start_time,
    )


@dataclass
class _LocalRuntime:
    """The ``context.runtime`` of an action of a local run: children are calls in this process."""

    run_name: str
    action: str
    folder: Path
    secrets: LocalSecrets
    variables: LocalVariables
    facts: context.TaskContext  # of the run: what its actions have in common
    results: LocalResults
    replays: LocalReplays
    history: LocalHistory
    places: LocalPlaces
    above: Room  # of the action that has called it
    attempt: int = 0
    may_recur: bool = False  # as one above it may be tried again

    def __post_init__(self) -> None:
        self._room = self.places.room(self.action)
        self._names = ActionNames(self.action)
        opened = functools.partial(open_storage, self.folder)
        self._traces = Traces(
            action=replace(self.facts.action, name=self.action),
            names=self._names,
            kept=opened,
            earlier=[opened] if self.attempt else [],
            note=self.history.note,
        )

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a sync child on this thread."""
        arguments = inputs.bind(task, *taken(args, kwargs), here=True)
        reuse = self.results.reuse(task, arguments)
        return self._child(task, reuse).run_here(task, arguments, reuse)

    async def acall(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child beside the others; a sync one on a thread of its own."""
        arguments = inputs.bind(task, *await taken_async(args, kwargs), here=True)
        reuse = self.results.reuse(task, arguments)
        return await self._child(task, reuse).run(task, arguments, reuse)

    async def acall_deployed(
        self, plan: TaskPlan, inputs: Mapping[str, Any], links: Iterable[Link] = ()
    ) -> Any:
        """Refuse: the code of a deployed task is on its cluster."""
        raise RemoteTaskUsageError(
            f"Deployed task {plan.name!r} runs on its cluster only, and this run is local: run without "
            'mode="local", or import the task.'
        )

    def trace(self, name: str, inputs: Mapping[str, object]) -> context.Trace:
        """Begin a call of a traced function."""
        return self._traces.begin(name, inputs)

    def _child(self, task: Task[..., Any], reuse: Reuse) -> _LocalRuntime:
        name = self._names.next(task.name, reuse.named, context.group_name())
        self.history.call(name, self.action, task.name, context.group_name())
        return replace(self, action=name, above=self._room, attempt=0)

    def run_here(self, task: Task[..., Any], arguments: dict[str, Any], reuse: Reuse) -> Any:
        """Run a sync task on this thread, which a debugger may be attached to, or reuse its result."""
        if (done := self.replays.find(self.action)) is not None:
            return done[0]
        if (found := reuse.find()) is not None:
            return self._reused(task, found)
        if not reuse.is_serial:
            return self._made_here(task, arguments, reuse)
        # One place for all attempts: who is to be alone must not wait for places of those who wait for that.
        with self.above.place(self.action), reuse.alone() as found:
            self.above = EndlessRoom()
            return self._made_here(task, arguments, reuse) if found is None else self._reused(task, found)

    async def run(self, task: Task[..., Any], arguments: dict[str, Any], reuse: Reuse) -> Any:
        """Run a task on this loop, or a sync one on a thread of its own, or reuse its result."""
        if self.may_recur and (done := await asyncio.to_thread(self.replays.find, self.action)) is not None:
            return done[0]
        if (found := await reuse.find_async()) is not None:
            return self._reused(task, found)
        if not reuse.is_serial:
            return await self._made(task, arguments, reuse)
        async with self.above.aplace(self.action), reuse.alone_async() as found:
            self.above = EndlessRoom()
            return await self._made(task, arguments, reuse) if found is None else self._reused(task, found)

    def _made_here(self, task: Task[..., Any], arguments: dict[str, Any], reuse: Reuse) -> Any:
        value = self._try_here(task, arguments)
        reuse.keep(self.action, value)
        if self.may_recur:
            self.replays.keep(self.action, task.name, value)
        return value

    async def _made(self, task: Task[..., Any], arguments: dict[str, Any], reuse: Reuse) -> Any:
        value = await self._try(task, arguments)
        reuse.keep(self.action, value)
        if self.may_recur:
            await asyncio.to_thread(self.replays.keep, self.action, task.name, value)
        return value

    def _reused(self, task: Task[..., Any], found: Found) -> Any:
        self.history.reuse(self.action, found.entry.run)
        if (span := self._span(task, 0)) is not None:
            span.tell({"flyteray.cached_from": found.entry.run})
            span.end()
        logger.info("The result of task %r is that of run %s", task.name, found.entry.run)
        return as_value(found.outputs)

    def _try_here(self, task: Task[..., Any], arguments: dict[str, Any]) -> Any:
        retries, limits = (
            Retries(retry_spec(task.retries)),
            limits_of(timeout_spec(task.timeout), time.time()),
        )
        while True:
            attempt = retries.attempt
            report = self._report(task, attempt)
            span = self._span(task, attempt)
            bound = self._context(task, attempt, report, span)
            outcome = _Outcome()
            with (
                self.above.place(self.action),
                interrupted_here(limits.of_running(task.name, time.time())) as late,
            ):
                self.history.begin(self.action)
                outcome = bound.run(_try_sync, task, arguments)
            if late:
                where = outcome.error.__traceback__ if outcome.error else None
                outcome = _Outcome(error=late[0].with_traceback(where))
            self._end(task, report, outcome.error, span)
            if (delay := outcome.delay(task, retries, limits)) is None:
                return outcome.value
            time.sleep(delay)

    async def _try(self, task: Task[..., Any], arguments: dict[str, Any]) -> Any:
        retries, limits = (
            Retries(retry_spec(task.retries)),
            limits_of(timeout_spec(task.timeout), time.time()),
        )
        while True:
            async with self.above.aplace(self.action):
                outcome = await self._attempt(task, arguments, retries.attempt, limits)
            if (delay := outcome.delay(task, retries, limits)) is None:
                return outcome.value
            await asyncio.sleep(delay)

    async def _attempt(
        self, task: Task[..., Any], arguments: dict[str, Any], attempt: int, limits: Limits
    ) -> _Outcome:
        report, span = self._report(task, attempt), self._span(task, attempt)
        self.history.begin(self.action)
        expiry = limits.of_running(task.name, time.time())
        try:
            bound = self._context(task, attempt, report, span)
            outcome = await self._outcome(task, arguments, bound, expiry)
        except asyncio.CancelledError as error:
            self._end(task, report, error, span)
            raise
        self._end(task, report, outcome.error, span)
        return outcome

    async def _outcome(
        self,
        task: Task[..., Any],
        arguments: dict[str, Any],
        bound: contextvars.Context,
        expiry: Expiry | None,
    ) -> _Outcome:
        if task.is_async:
            awaited: asyncio.Future[_Outcome] = bound.run(asyncio.ensure_future, _try_async(task, arguments))
            ended = await ends_in_time(awaited, expiry, awaited.cancel)
        else:
            # Not an executor's thread: Ctrl+C is to end the process.
            outcome, thread = in_thread(
                functools.partial(bound.run, _try_sync, task, arguments), "flyteray-task"
            )
            awaited = asyncio.wrap_future(outcome)
            ended = await ends_in_time(awaited, expiry, functools.partial(interrupt_thread, thread.ident))
        if expiry is not None and not ended:
            return _Outcome(error=expiry.error)
        return await awaited

    def _report(self, task: Task[..., Any], attempt: int) -> Report:
        """The report of an attempt; one that nobody sees where its task makes none."""
        if not task.report:
            return unseen()
        opened = functools.partial(open_storage, self.folder)
        return KeptReport(task.name, self.run_name, self.action, attempt + 1, opened)

    def _span(self, task: Task[..., Any], attempt: int) -> Span | None:
        named = {"flyteray.run": self.run_name, "flyteray.action": self.action, "flyteray.task": task.name}
        return begin(task.name, "internal", {**named, "flyteray.attempt": attempt + 1})

    def _end(
        self, task: Task[..., Any], report: Report, error: BaseException | None, span: Span | None
    ) -> None:
        """Note how an attempt has ended; write its report for the last time, and say where it is after a failure."""
        phase, why = _ended(error)
        self.history.end(self.action, phase, why)
        if span is not None:
            if error is not None:
                span.fail(why or "", failure.describe(error))
            span.end()
        if not isinstance(report, KeptReport):
            return
        if report.end(phase, why or "") and phase is ActionPhase.FAILED:
            logger.warning("The report of %s, which failed, is %s", task.name, self.folder / report.key)

    def _context(
        self, task: Task[..., Any], attempt: int, report: Report, span: Span | None
    ) -> contextvars.Context:
        """The context of an attempt of a task, whose variables and secrets are there."""
        self.variables.deliver(task.env_vars or {})
        self.secrets.deliver(task.secret_list())
        bound = contextvars.copy_context()
        if span is not None:
            bound.run(span.enter)
        may_recur = self.may_recur or retry_spec(task.retries).count > 0
        # Which counts its calls anew.
        bound.run(context.runtime.set, replace(self, attempt=attempt, may_recur=may_recur))
        facts = self.facts.replace(
            action=replace(self.facts.action, name=self.action),
            attempt_number=attempt,
            raw_data_path=RawDataPath(f"{self.facts.raw_data_path}/{self.action}/data"),
            output_path=str(self.folder / self.action),
            report=report,
            checkpoint=Checkpoint(str(self.folder / self.action / "checkpoint")),
        )
        bound.run(context.task_context.set, facts)
        return bound


class _Outcome(NamedTuple):
    """The outcome of one attempt. An error is a value here: asyncio does not carry every exception."""

    value: Any = None
    error: BaseException | None = None

    def delay(self, task: Task[..., Any], retries: Retries, limits: Limits) -> float | None:
        """Seconds until the next attempt, None where this one is good; raises a final error with the user's frames."""
        error = self.error
        if error is None:
            return None
        if isinstance(error, KeyboardInterrupt):
            raise error  # of somebody's Ctrl+C
        shown = failure.as_flyteray(error)
        delay = retries.after(shown)
        if delay is None:
            cause = error if shown is not error else error.__cause__
            raise shown.with_traceback(error.__traceback__) from cause
        return limits.checked_pause(task.name, delay, time.time(), shown)


def _ended(error: BaseException | None) -> tuple[ActionPhase, str | None]:
    """The phase that an attempt ends in, and why."""
    if error is None:
        return ActionPhase.SUCCEEDED, None
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
        return ActionPhase.ABORTED, "Its caller no longer waits for it."
    late = isinstance(error, TaskTimeoutError)
    return ActionPhase.TIMED_OUT if late else ActionPhase.FAILED, failure.describe(error).summary


def _try_sync(task: Task[..., Any], arguments: dict[str, Any]) -> _Outcome:
    try:
        return _Outcome(inputs.check_output(task, task.func(**arguments), here=True))
    except BaseException as error:  # noqa: BLE001  # the policy decides
        return _outcome_of(task, error)


async def _try_async(task: Task[..., Any], arguments: dict[str, Any]) -> _Outcome:
    try:
        return _Outcome(inputs.check_output(task, await task.func(**arguments), here=True))
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        return _outcome_of(task, error)
    except BaseException as error:  # noqa: BLE001  # as above; SystemExit would end the event loop's thread
        return _outcome_of(task, error)


def _outcome_of(task: Task[..., Any], error: BaseException) -> _Outcome:
    if isinstance(error, SystemExit) and exits_well(task, error):
        return _Outcome()
    error.__traceback__ = failure.users_frames(error.__traceback__)
    return _Outcome(error=error)


def _is_cancelled() -> bool:
    """Whether somebody cancelled the coroutine that runs, rather than that it raised so itself."""
    current = asyncio.current_task()
    return sys.version_info < (3, 11) or current is None or current.cancelling() > 0
