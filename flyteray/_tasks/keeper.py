"""The keeper owns the outputs of runs and submits their root actions: in Ray a value dies with its owner."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict

import ray

from flyteray._actors.controller import controller
from flyteray._actors.keeper import Keeper as KeeperDoor
from flyteray._plan import failure
from flyteray._plan.info import ActionPhase, ErrorInfo, RunEnd
from flyteray._plan.retry import retry_delay
from flyteray._plan.spec import NO_IMAGE, RunSpec, Start
from flyteray._plan.values.pickling import Payload
from flyteray._tasks.call import Call, Inheritance
from flyteray._tasks.execution import execute_root
from flyteray._tasks.submission import NamedEnvironment, Submitter, describe_error, translate_error
from flyteray.errors import ActionAbortedError, RunNotFoundError

_STORE_SHARE = 0.3  # of the object store may be held for later readers; beyond it, storage serves them
_REPORT_AGAIN_S = (1.0, 30.0)  # at first, and at most

logger = logging.getLogger(__name__)


class Keeper(KeeperDoor):
    """A detached actor: drivers come and go, the runs they started and their outputs stay.

    ``capacity`` is bytes of outputs to hold in the object store, by default 30 % of it; the oldest are let go first.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self._submitter = Submitter(execute_root, num_returns=2)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._refs: dict[str, list[ray.ObjectRef]] = {}
        self._aborted: set[str] = set()
        self._preparing: dict[str, asyncio.Future[Start]] = {}
        self._held: OrderedDict[str, tuple[ray.ObjectRef, int]] = OrderedDict()
        self._capacity = capacity or int(_STORE_SHARE * ray.cluster_resources().get("object_store_memory", 0))

    async def submit(self, spec: RunSpec, inputs: Payload) -> None:
        if spec.name in self._running or spec.name in self._held:
            return
        self._running[spec.name] = asyncio.create_task(self._attend(spec, inputs))

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
        for ref in self._refs.get(run, [])[:1]:  # both of its refs are of one task
            ray.cancel(ref, force=False, recursive=True)

    async def holds(self) -> list[str]:
        return list(self._running)

    async def _attend(self, spec: RunSpec, inputs: Payload) -> None:
        try:
            ended = await self._run(spec, inputs)
        except BaseException as error:  # noqa: BLE001  # the run has ended, and its end must be told
            ended = RunEnd(run=spec.name, phase=ActionPhase.FAILED, error=failure.describe(error))
        self._refs.pop(spec.name, None)
        await self._report(ended)
        self._running.pop(spec.name, None)
        self._aborted.discard(spec.name)

    async def _run(self, spec: RunSpec, inputs: Payload) -> RunEnd:
        environment = NamedEnvironment.of(spec.task.environment)
        for attempt in itertools.count():
            call = Call.of(
                spec.task,
                run=spec.name,
                action="a0",
                parent=None,
                attempt=attempt,
                inherited=Inheritance.of(spec.wide),
                owner=spec.owner,
            )
            try:
                refs = self._submitter.submit(environment, call, inputs, await self._start(spec))
                self._refs[spec.name] = refs
                if spec.name in self._aborted:
                    await self.cancel(spec.name)
                size = await refs[1]
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the policy decides
                # Not unpickled: a user's exception may do anything to the process that loads it.
                shown = translate_error(error, spec.task.name, unpickle=False)
                if spec.name in self._aborted:
                    return RunEnd(run=spec.name, phase=ActionPhase.ABORTED)
                delay = retry_delay(shown, spec.task.retry, attempt)
                if delay is None:
                    return RunEnd(
                        run=spec.name, phase=ActionPhase.FAILED, error=describe_error(error, spec.task.name)
                    )
                await asyncio.sleep(delay)
            else:
                self._hold(spec.name, refs[0], size)
                return RunEnd(run=spec.name, phase=ActionPhase.SUCCEEDED, output_bytes=size)
        raise AssertionError

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


def _in_ascii(ended: RunEnd) -> RunEnd:
    """The end of a run in plain letters, without what may have been why it was not taken in."""
    error = ended.error
    if error is None:
        return ended
    code, message = ascii(error.code)[1:-1], ascii(error.message)[1:-1]
    plain = ErrorInfo(code=code, kind=error.kind, message=message, final=error.final)
    return ended.model_copy(update={"error": plain})
