"""The supervisor of runs records each, has a keeper start it, wakes who waits for it, and loses none from sight."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from datetime import datetime, timedelta, timezone

from flyteray._actors.keeper import keeper
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._plan import failure
from flyteray._plan.actions.names import ROOT
from flyteray._plan.cache.entry import Entry
from flyteray._plan.cache.results import ResultCache
from flyteray._plan.info import ActionEvent, ActionPhase, ErrorInfo, RunEnd, RunInfo
from flyteray._plan.spec import RunSpec
from flyteray._plan.values import pickling
from flyteray._plan.values.outputs import output_key
from flyteray._plan.values.pickling import Payload
from flyteray.errors import (
    ActionAbortedError,
    BaseRuntimeError,
    InitializationError,
    RegistryUnavailableError,
    RunAlreadyExistsError,
    RunNotFoundError,
    RuntimeSystemError,
)
from flyteray.storage import Storage

_SETTLE = timedelta(seconds=10)  # from recording a run until its keeper surely knows of it
_ASK_S = 60.0  # how long a keeper may take to answer

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs as the registry and the keepers know them; ``storage`` has their inputs, and what they have done."""

    def __init__(self, registry: Registry, storage: Storage) -> None:
        self._registry = registry
        self._storage = storage
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._unwritten: dict[str, RunEnd] = {}

    async def start(self, spec: RunSpec, inputs: Payload) -> None:
        """Record a run and hand it to its keeper, once; RunAlreadyExistsError where another one has its name.

        Its inputs are in storage before, where it finds them if it has to begin again.
        """
        if not await self._create(spec, inputs):
            return  # its keeper may have let go of its outputs, and would begin anew
        try:
            await keeper().submit(spec, inputs)
        except BaseRuntimeError as error:
            self._lost(spec.name, failure.message(error))
            raise

    async def reuse(self, spec: RunSpec, entry: Entry, inputs: Payload | None) -> bool:
        """Record a run that a result has ended which was kept; False where that is gone. Errors as in :meth:`start`."""
        cache = ResultCache(self._storage)
        if not await asyncio.to_thread(cache.has, entry):
            return False
        if not await self._create(spec, inputs):
            return True
        size = await asyncio.to_thread(cache.hand_on, entry, output_key(spec.name))
        if size is None:
            self._lost(spec.name, f"Its result, which was that of run {entry.run}, was deleted just now.")
            return True
        self._registry.actions.record([_succeeded(spec, cached=entry.run)])
        ended = RunEnd(run=spec.name, phase=ActionPhase.SUCCEEDED, output_bytes=size, cached=entry.run)
        self.finished(ended)
        return True

    async def _create(self, spec: RunSpec, inputs: Payload | None) -> bool:
        """Record a run with its inputs, if it has them with it; False where it was recorded before and has ended."""
        key = pickling.inputs_key(spec.request)
        if spec.inputs is None and inputs is not None:
            await asyncio.to_thread(pickling.store, inputs, self._storage.url, key)
        try:
            self._registry.runs.create(spec, now())
        except RunAlreadyExistsError:
            if self._registry.runs.spec(spec.name) != spec:
                if spec.inputs is None:
                    await asyncio.to_thread(self._storage.delete, key)
                raise
            return not self.get(spec.name).phase.is_terminal
        return True

    def get(self, name: str) -> RunInfo:
        """A run; RunNotFoundError where there is none."""
        info = self._registry.runs.get(name)
        ended = self._unwritten.get(name)
        if ended is None or info.phase.is_terminal:
            return info
        known = {"phase": ended.phase, "error": ended.error, "output_bytes": ended.output_bytes}
        return info.model_copy(update=known | {"ended_at": now()})

    async def wait(self, name: str, timeout_s: float) -> RunInfo:
        """A run as soon as it has ended, or as it is after ``timeout_s`` seconds."""
        info = self.get(name)
        if not info.phase.is_terminal:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed[name].wait(), timeout_s)
            info = self.get(name)
        return info

    def record(self, events: list[ActionEvent]) -> None:
        """Take in the events that workers report: all at once, or where the registry refuses that, each by itself."""
        try:
            self._record(events)
        except RegistryUnavailableError:
            raise
        except Exception as error:
            refused = [event for event in events if not self._takes(event)]
            if len(refused) == len(events):
                raise
            logger.warning("%d of %d events were refused: %s", len(refused), len(events), error)

    def _record(self, events: list[ActionEvent]) -> None:
        self._registry.actions.record(events)
        for event in events:
            if event.parent is None and event.began is not None:
                self._registry.runs.started(event.run, datetime.fromtimestamp(event.began, timezone.utc))
            if event.parent is None and event.cached is not None:
                self._registry.runs.reused(event.run, event.cached)

    def _takes(self, event: ActionEvent) -> bool:
        try:
            self._record([event])
        except RegistryUnavailableError:
            raise
        except Exception:
            logger.exception("An event was refused: %r", event)
            return False
        return True

    def finished(self, ended: RunEnd) -> None:
        """Note how a run ended and wake those who wait for it; the first report counts.

        They wake even where the registry can't be written, which raises: the report is to be sent again then.
        """
        self._unwritten.setdefault(ended.run, ended)
        if event := self._changed.pop(ended.run, None):
            event.set()
        try:
            self._registry.runs.finish(
                ended.run, ended.phase, ended.error, ended.output_bytes, now(), ended.cached
            )
        except RunNotFoundError:
            del self._unwritten[ended.run]
            raise
        del self._unwritten[ended.run]

    async def abort(self, name: str, reason: str) -> None:
        """End a run; nothing happens when it has ended already."""
        if self.get(name).phase.is_terminal:
            return
        error = ActionAbortedError(f"Run {name!r} was aborted: {reason}")
        described = ErrorInfo(code=error.code, kind="user", message=failure.message(error))
        try:
            self.finished(RunEnd(run=name, phase=ActionPhase.ABORTED, error=described))
        finally:
            await keeper().cancel(name)

    async def reap(self) -> None:
        """Go on with the runs that no keeper holds any more: their cluster or keeper has died."""
        for ended in list(self._unwritten.values()):
            self.finished(ended)
        overdue = [
            name for name in self._registry.runs.unfinished() if now() - self.get(name).created_at > _SETTLE
        ]
        if not overdue:
            return
        held = await self._held()
        for name in overdue:
            # Asked again: it may have ended between the two questions.
            if name not in held and not self.get(name).phase.is_terminal:
                await self._go_on(name)

    async def _go_on(self, name: str) -> None:
        """Begin a run again, which does nothing again that it has done; one that had ended unheard has ended."""
        size = await asyncio.to_thread(self._output_size, name)
        spec = self._registry.runs.spec(name)
        if size is not None:
            self._registry.actions.record([_succeeded(spec)])
            self.finished(RunEnd(run=name, phase=ActionPhase.SUCCEEDED, output_bytes=size))
            return
        key = spec.inputs or pickling.inputs_key(spec.request)
        if not await asyncio.to_thread(self._storage.exists, key):
            self._lost(name, f"Its cluster or keeper died before it ended, and its inputs, {key}, are gone.")
            return
        begun = self._registry.actions.attempts(name, ROOT)
        logger.warning("Run %s was cut off after %d attempts, and begins again", name, begun)
        await keeper().submit(spec, pickling.stored(self._storage.url, key), begun)

    def _output_size(self, name: str) -> int | None:
        try:
            return self._storage.state(output_key(name)).size
        except FileNotFoundError:
            return None

    def _lost(self, name: str, why: str) -> None:
        error = ErrorInfo(code="TaskInterruptedError", kind="system", message=f"{why} Run it again.")
        self.finished(RunEnd(run=name, phase=ActionPhase.FAILED, error=error))

    async def _held(self) -> set[str]:
        """The runs that the keeper attends to; none where there is no keeper any more."""
        try:
            return set(await asyncio.wait_for(keeper().holds(), _ASK_S))
        except InitializationError:
            return set()
        except RuntimeSystemError as error:
            if error.code != "ActorDiedError":
                raise
            return set()


def _succeeded(spec: RunSpec, cached: str | None = None) -> ActionEvent:
    """The success of a run's root action that no worker tells of."""
    return ActionEvent(
        run=spec.name,
        action=ROOT,
        parent=None,
        task=spec.task.name,
        phase=ActionPhase.SUCCEEDED,
        at=now().timestamp(),
        cached=cached,
    )
