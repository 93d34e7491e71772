"""The keeper owns the outputs of runs and submits their root actions: in Ray a value dies with its owner."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import ray

from flyteray._actors.controller import CLAIM_S, controller
from flyteray._actors.keeper import Keeper as KeeperDoor
from flyteray._plan import failure
from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.retry import Retries
from flyteray._plan.actions.reuse import pool_plan
from flyteray._plan.cache.results import ResultCache
from flyteray._plan.info import ActionPhase, ErrorInfo, RunEnd
from flyteray._plan.spec import NO_IMAGE, CachedCall, RunSpec, Start
from flyteray._plan.values.outputs import output_key
from flyteray._plan.values.pickling import Payload
from flyteray._tasks.call import Call, Inheritance
from flyteray._tasks.cancels import cancel
from flyteray._tasks.events import Recorder
from flyteray._tasks.execution import execute_root
from flyteray._tasks.places import KeptPlaces
from flyteray._tasks.reuse.calls import PooledCall
from flyteray._tasks.submission import (
    NamedEnvironment,
    Submitter,
    describe_error,
    told_by_worker,
    translate_error,
    was_lost,
)
from flyteray._tasks.timeouts.patience import Patience, phase_of
from flyteray._traces.asked import Variables
from flyteray._traces.process import tracing
from flyteray.errors import (
    ActionAbortedError,
    BaseRuntimeError,
    DeadlineExceededError,
    RunNotFoundError,
)
from flyteray.storage import open_storage

_STORE_SHARE = 0.3  # of the object store may be held for later readers; beyond it, storage serves them
_REPORT_AGAIN_S = (1.0, 30.0)  # at first, and at most

logger = logging.getLogger(__name__)


class Keeper(KeeperDoor):
    """A detached actor: drivers come and go, the runs they started and their outputs stay.

    ``capacity`` is bytes of outputs to hold in the object store, by default 30 % of it; the oldest are let go first.
    ``traces`` are the variables by which it sends spans of attempts that were lost.
    """

    def __init__(self, capacity: int | None = None, traces: Variables = ()) -> None:
        if traces:
            tracing().lend(traces)
            tracing().begin("flyteray-keeper")
        self.places = KeptPlaces()
        self._submitter = Submitter(execute_root, num_returns=2)
        self._recorder = Recorder()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._cancels: dict[str, Callable[[], object]] = {}
        self._aborted: set[str] = set()
        self._preparing: dict[str, asyncio.Future[Start]] = {}
        self._held: OrderedDict[str, tuple[ray.ObjectRef, int]] = OrderedDict()
        self._capacity = capacity or int(_STORE_SHARE * ray.cluster_resources().get("object_store_memory", 0))

    async def submit(self, spec: RunSpec, inputs: Payload, begun: int | None = None) -> None:
        if spec.name in self._running or spec.name in self._held:
            return
        self._running[spec.name] = asyncio.create_task(self._attend(spec, inputs, begun))

    async def get_output(self, run: str) -> list[ray.ObjectRef]:
        held = self._held.get(run)
        return [held[0]] if held else []

    async def let_go(self, runs: list[str]) -> None:
        for run in runs:
            self._held.pop(run, None)

    async def cancel(self, run: str) -> None:
        self._aborted.add(run)
        if run in self._preparing:
            self._preparing[run].cancel()
        if run in self._cancels:
            self._cancels[run]()

    async def holds(self) -> list[str]:
        return list(self._running)

    async def _attend(self, spec: RunSpec, inputs: Payload, begun: int | None) -> None:
        try:
            ended = await self._run(spec, inputs, begun)
        except BaseException as error:  # noqa: BLE001  # the run has ended, and its end must be told
            ended = RunEnd(run=spec.name, phase=ActionPhase.FAILED, error=failure.describe(error))
        self._cancels.pop(spec.name, None)
        self.places.forget(spec.name)
        await self._report(ended)
        self._running.pop(spec.name, None)
        self._aborted.discard(spec.name)

    async def _run(self, spec: RunSpec, inputs: Payload, begun: int | None) -> RunEnd:
        if spec.cached is not None and spec.cached.serialize and await self._reuses(spec, spec.cached):
            return RunEnd(run=spec.name, phase=ActionPhase.SUCCEEDED)
        retries, patience = Retries(spec.task.retry, begun or 0), Patience(spec.task)
        while True:
            call = Call.of(spec.task)._replace(
                run=spec.name,
                action=ROOT,
                attempt=retries.attempt,
                unchecked=spec.unchecked or spec.task.version is not None,
                from_above=Inheritance.of(spec.wide)._replace(resumed=begun is not None).fields,
                owner=spec.owner,
                limits=patience.limits,
                cached=tuple(spec.cached or ()),
                links=tuple(spec.links.items()),
                trace=spec.trace,
            )
            self.places.forget(spec.name)
            try:
                under_way = self._begin(spec, call, inputs, await self._start(spec))
                if spec.name in self._aborted:
                    await self.cancel(spec.name)
                with patience.waiting(call, self._cancels[spec.name]):
                    outputs, size = await under_way
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the policy decides
                # Not unpickled: a user's exception may do anything to the process that loads it.
                told = translate_error(error, spec.task.name, unpickle=False)
                if spec.name in self._aborted:
                    return RunEnd(run=spec.name, phase=ActionPhase.ABORTED)
                if was_lost(told) and (left := await _left(spec.name)) is not None:
                    self._recorder.add(call, ActionPhase.SUCCEEDED)
                    return RunEnd(run=spec.name, phase=ActionPhase.SUCCEEDED, output_bytes=left)
                asks = patience.has_to_ask(told)
                began = await controller().runs.began(spec.name, ROOT, call.attempt) if asks else None
                shown = patience.explained(told, call.attempt, began)
                self._note(call, error, told, shown)
                try:
                    delay = retries.after(shown)
                    pause = None if delay is None else patience.checked_pause(delay, shown)
                except DeadlineExceededError as late:
                    shown, pause = late, None
                if pause is None:
                    return _failed(spec, error, told, shown)
                await asyncio.sleep(pause)
            else:
                self._recorder.add(call, ActionPhase.SUCCEEDED)  # its worker may die before it has
                self._hold(spec.name, outputs, size)
                return RunEnd(run=spec.name, phase=ActionPhase.SUCCEEDED, output_bytes=size)

    def _begin(
        self, spec: RunSpec, call: Call, inputs: Payload, start: Start
    ) -> Awaitable[tuple[ray.ObjectRef, int]]:
        """Begin an attempt, which :attr:`_cancels` ends: its outputs and their size."""
        environment = NamedEnvironment.of(spec.task.environment)
        if spec.task.reuse is not None:
            gets = self._submitter.placed(environment, call.task)
            plan = pool_plan(spec.task, spec.task.reuse, spec.name, gets, start)
            pooled = PooledCall(plan, call, inputs, root=True)
            self._cancels[spec.name] = pooled.cancel
            return pooled.get_root()
        outputs, size = self._submitter.submit(environment, call, inputs, start)
        self._cancels[spec.name] = functools.partial(cancel, outputs)
        return _sized(outputs, size)

    async def _reuses(self, spec: RunSpec, cached: CachedCall) -> bool:
        """Whether a run's result is there, once nobody makes an equal call; the run has the lease until it ends."""
        while not await controller().leases.claim(cached.key, spec.name, ROOT, None, CLAIM_S):
            if spec.name in self._aborted:
                return False
        storage = (await controller().info(None)).storage
        # Whoever has called has looked for users' classes, which are none of this process's.
        look = functools.partial(ResultCache(open_storage(storage)).look, cached, classes=False)
        entry = await asyncio.to_thread(look)
        return entry is not None and await controller().runs.reuse(spec, entry, None) is not None

    def _note(self, call: Call, error: Exception, told: BaseRuntimeError, shown: BaseRuntimeError) -> None:
        """Record the end of an attempt whose worker could not tell: it died, may die now, or Ray refused the action."""
        if (failed := told_by_worker(error)) is not None:
            self._recorder.add(call, failed.phase, error=failed.info.summary)
        else:
            described = failure.describe(shown)
            self._recorder.add(call, phase_of(shown, told), error=described.summary)
            if (span := call.span()) is not None:
                span.fail(described.summary, described)
                span.end()

    async def _start(self, spec: RunSpec) -> Start:
        """The start of the run's image, once it is built; an abort does not wait for that."""
        image = spec.task.environment.image
        if image is None:
            return NO_IMAGE
        preparing = self._preparing[spec.name] = asyncio.ensure_future(controller().images.prepare(image))
        try:
            return await preparing
        except asyncio.CancelledError:
            raise ActionAbortedError(f"Run {spec.name!r} was aborted before its image was built.") from None
        finally:
            del self._preparing[spec.name]

    def _hold(self, run: str, outputs: ray.ObjectRef, size: int) -> None:
        self._held[run] = (outputs, size)
        total = sum(held for _, held in self._held.values())
        while total > self._capacity and len(self._held) > 1:
            _, (_, freed) = self._held.popitem(last=False)
            total -= freed

    async def _report(self, ended: RunEnd) -> None:
        """Tell the controller until it knows, however long it is away; in plain letters after a failure."""
        pause, longest = _REPORT_AGAIN_S
        while True:
            try:
                await controller().runs.finished(ended)
            except RunNotFoundError:
                return  # forgotten meanwhile: nobody waits for it
            except Exception:
                logger.exception("The end of run %s could not be told; it is tried again", ended.run)
                ended = _in_ascii(ended)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                return


async def _sized(outputs: ray.ObjectRef, size: ray.ObjectRef) -> tuple[ray.ObjectRef, int]:
    return outputs, await size


def _failed(spec: RunSpec, error: Exception, told: BaseRuntimeError, shown: BaseRuntimeError) -> RunEnd:
    """The end of a run whose last attempt raised ``error``: it is ``told`` so, or there is a limit behind it."""
    if shown is not told:
        phase, info = ActionPhase.TIMED_OUT, failure.describe(shown)
    else:
        failed = told_by_worker(error)
        phase = ActionPhase.FAILED if failed is None else failed.phase
        info = describe_error(error, spec.task.name)
    return RunEnd(run=spec.name, phase=phase, error=info)


async def _left(run: str) -> int | None:
    """The size of the outputs of a run whose worker was lost behind them; None where it was lost before."""
    storage = (await controller().info(None)).storage
    try:
        return (await asyncio.to_thread(open_storage(storage).state, output_key(run))).size
    except FileNotFoundError:
        return None


def _in_ascii(ended: RunEnd) -> RunEnd:
    """The end of a run in plain letters, without what may have been why it was not taken in."""
    error = ended.error
    if error is None:
        return ended
    code, message = ascii(error.code)[1:-1], ascii(error.message)[1:-1]
    plain = ErrorInfo(code=code, kind=error.kind, message=message, final=error.final)
    return ended.model_copy(update={"error": plain})
