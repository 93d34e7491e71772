"""The scheduler starts a run at each tick of each active trigger: none is left out, none is started twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flyteray._actors.controller import Runs
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._plan.spec import RunSpec
from flyteray._plan.triggers.artifacts import ArtifactInfo, inputs_from
from flyteray._plan.triggers.schedule import due, next_tick
from flyteray._plan.triggers.trigger import TriggerInfo, inputs_of, run_name
from flyteray._plan.values.pickling import Payload
from flyteray.errors import (
    RegistryUnavailableError,
    RunAlreadyExistsError,
    RunNotFoundError,
    RuntimeSystemError,
)

_LONGEST_S = 30.0  # between two looks at the clock, which may be set anew
_AGAIN_S = 2.0  # after what may be over soon

logger = logging.getLogger(__name__)


class _Cause(NamedTuple):
    """What starts a run: a time, which is that of an artifact where one has come."""

    at: datetime
    artifact: ArtifactInfo | None = None


class Scheduler:
    """The clock of the triggers of ``registry``, whose runs are started by ``runs``.

    A tick is recorded as acted on once its run is. Whoever dies in between does it again: the name of the run follows
    from trigger and tick, so that the second time nothing is started.
    """

    def __init__(self, registry: Registry, runs: Runs, clock: Callable[[], datetime] = now) -> None:
        self._registry = registry
        self._runs = runs
        self._clock = clock
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have the scheduler look at the triggers anew."""
        self._changed.set()

    async def run(self) -> None:
        """Start runs for ever."""
        while True:
            self._changed.clear()
            try:
                rest_s = await self.look()
            except RegistryUnavailableError as error:
                logger.warning("The triggers are looked at again: %s", error)
                rest_s = _AGAIN_S
            except Exception:
                logger.exception("Looking at the triggers failed; they are looked at again")
                rest_s = _AGAIN_S
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), rest_s)

    async def look(self) -> float:
        """Start the runs of all ticks that are due; for how many seconds there are none."""
        triggers, at = self._registry.triggers.active(), self._clock()
        acted = await asyncio.gather(*(self._act(each, at) for each in triggers), return_exceptions=True)
        if errors := [each for each in acted if isinstance(each, BaseException)]:
            raise errors[0]
        if not all(acted):
            return _AGAIN_S
        soonest = min(_next_ticks(triggers, at), default=at + timedelta(seconds=_LONGEST_S))
        return min(max((soonest - self._clock()).total_seconds(), 0.0), _LONGEST_S)

    async def _act(self, trigger: TriggerInfo, at: datetime) -> bool:
        """Act on the ticks of a trigger that are due; False: what is left is to be tried again."""
        for cause in self._causes(trigger, at):
            if not self._registry.triggers.is_as_it_was(trigger):
                return True  # what it is now is looked at next
            name = run_name(trigger.spec, cause.artifact.id if cause.artifact else cause.at)
            problem: str | None = None
            try:
                await self._start(trigger, name, cause)
            except RunAlreadyExistsError:
                logger.info("Run %s was started already", name)
            except Exception as error:  # noqa: BLE001  # one trigger's failure is not that of others
                problem = f"{type(error).__name__}: {error}"
                logger.warning("Trigger %r of %s: %s", trigger.spec.name, trigger.spec.task, problem)
                if isinstance(error, RuntimeSystemError) and not self._is_recorded(name):
                    return False
            artifact = cause.artifact.id if cause.artifact else None
            self._registry.triggers.acted(trigger, cause.at, None if problem else name, problem, artifact)
        return True

    def _causes(self, trigger: TriggerInfo, at: datetime) -> list[_Cause]:
        """What is to start a run of a trigger now."""
        spec = trigger.spec
        if spec.schedule is not None:
            ticks = due(spec.schedule, trigger.last_tick or trigger.since, trigger.since, at)
            return [_Cause(tick) for tick in ticks]
        assert spec.watch is not None
        found = self._registry.artifacts.after(trigger.seen or 0, spec.watch)
        return [_Cause(each.created_at, each) for each in found]

    async def _start(self, trigger: TriggerInfo, name: str, cause: _Cause) -> None:
        spec = trigger.spec
        newest = (await self._registry.tasks.get(spec.task)).plan.spec if spec.newest else None
        inputs = self._registry.triggers.inputs(spec.task, spec.name)
        run = spec.run_of(name, _request(spec.run_of(name, "", cause.at, newest), inputs), cause.at, newest)
        given: Payload = pickle.loads(inputs)
        known: dict[str, Any] = dict.fromkeys(spec.time_inputs, cause.at)
        if cause.artifact is not None:
            artifact = cause.artifact.spec
            value = await self._registry.artifacts.value(artifact.name, artifact.version)
            known |= inputs_from(artifact, value, spec.artifact_input, spec.partition_inputs)
        await self._runs.start(run, inputs_of(given, known))

    def _is_recorded(self, run: str) -> bool:
        try:
            self._registry.runs.get(run)
        except RunNotFoundError:
            return False
        except RegistryUnavailableError:
            return False
        return True


def _request(run: RunSpec, inputs: bytes) -> str:
    """What tells a run that is asked for again from another one that was given its name."""
    return hashlib.sha256(run.model_dump_json().encode() + inputs).hexdigest()[:32]


def _next_ticks(triggers: Iterable[TriggerInfo], at: datetime) -> Iterable[datetime]:
    for each in triggers:
        schedule = each.spec.schedule
        if schedule is not None and (tick := next_tick(schedule, max(at, each.since), each.since)):
            yield tick
