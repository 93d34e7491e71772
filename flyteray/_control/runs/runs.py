"""Runs answer clients, workers and apps: as they are recorded, and with the reason why they wait at the moment."""

from __future__ import annotations

import asyncio
import pickle
import time

from flyteray._actors.controller import Runs as RunsDoor
from flyteray._actors.controller import SharedStorage
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.secrets import Secrets
from flyteray._control.runs.aborting import Aborting
from flyteray._control.runs.actions import as_of, kind_as_of
from flyteray._control.runs.leases import Leases
from flyteray._control.runs.outputs import Outputs
from flyteray._control.runs.supervisor import Supervisor
from flyteray._control.runs.waiting import Waiting
from flyteray._declare.near import did_you_mean
from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.tree import Census
from flyteray._plan.cache.entry import Entry
from flyteray._plan.info import (
    ActionEvent,
    ActionInfo,
    ActionPhase,
    AttemptInfo,
    ChildrenDone,
    NoticeInfo,
    RunEnd,
    RunInfo,
)
from flyteray._plan.runs import RunFilter
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.pickling import Payload

_LAST_REPORTS_S = 0.5  # for workers to tell of the children of a run that has just ended


class Runs(RunsDoor):
    """The runs of a cluster."""

    def __init__(
        self,
        supervisor: Supervisor,
        registry: Registry,
        waiting: Waiting,
        secrets: Secrets,
        outputs: Outputs,
        shared: SharedStorage,
        leases: Leases,
    ) -> None:
        self._supervisor = supervisor
        self._registry = registry
        self._waiting = waiting
        self._secrets = secrets
        self._outputs = outputs
        self._shared = shared
        self._leases = leases
        self._aborting = Aborting()
        self._just_ended: dict[str, float] = {}

    async def start(self, spec: RunSpec, inputs: Payload) -> RunInfo:
        await self._shared.prove(place=spec.wide.raw_data_path)
        self._secrets.require(secret.name for secret in spec.task.environment.secrets)
        await self._supervisor.start(spec, inputs)
        return self._supervisor.get(spec.name)

    async def reuse(self, spec: RunSpec, entry: Entry, inputs: Payload | None) -> RunInfo | None:
        await self._shared.prove(place=spec.wide.raw_data_path)
        if not await self._supervisor.reuse(spec, entry, inputs):
            return None
        self._ended(spec.name)
        self._outputs.succeeded(spec.name)
        return self._supervisor.get(spec.name)

    async def get(self, name: str) -> RunInfo:
        return await self._waiting.run(self._supervisor.get(name))

    async def wait(self, name: str, timeout_s: float) -> RunInfo:
        return await self._waiting.run(await self._supervisor.wait(name, timeout_s))

    async def listall(self, asked: RunFilter) -> list[RunInfo]:
        unfinished = len(self._registry.runs.unfinished()) if asked.phases else 0
        # So many may be in another phase at the moment than in the one that they are recorded in.
        recorded = self._registry.runs.find(asked.model_copy(update={"limit": asked.limit + unfinished}))
        found = await self._waiting.runs(recorded)
        return [run for run in found if asked.has_phase(run)][: asked.limit]

    async def spec(self, name: str) -> RunSpec:
        return self._registry.runs.spec(name)

    async def inputs(self, run: str, action: str) -> bytes | None:
        return self._registry.actions.inputs(run, action)

    async def actions(self, run: str) -> list[ActionInfo]:
        await self._told_of(run)
        info, at = self._supervisor.get(run), now()
        recorded = [as_of(info, action, at) for action in self._registry.actions.of_run(run)]
        return await self._waiting.actions(run, recorded)

    async def census(self, run: str, most: int) -> Census:
        await self._told_of(run)
        info, at = self._supervisor.get(run), now()
        found = self._registry.actions.census(run, most)
        return Census(
            kinds=tuple(kind_as_of(info, kind) for kind in found.kinds),
            actions=tuple(as_of(info, action, at) for action in found.actions),
        )

    async def action(self, run: str, action: str) -> ActionInfo | None:
        await self._told_of(run)
        info, found = self._supervisor.get(run), self._registry.actions.get(run, action)
        if found is None:
            return None
        return (await self._waiting.actions(run, [as_of(info, found, now())]))[0]

    async def notices(self, name: str) -> list[NoticeInfo]:
        self._supervisor.get(name)
        return self._registry.notices.of_run(name)

    async def began(self, run: str, action: str, attempt: int) -> float | None:
        found = self._registry.actions.tries.began(run, action, attempt + 1)
        return None if found is None else found.timestamp()

    async def attempts(self, run: str, action: str) -> list[AttemptInfo]:
        found = [each for each in await self.actions(run) if each.action == action]
        return [attempt for each in found for attempt in self._registry.actions.tries.of_action(each)]

    async def abort(self, name: str, reason: str) -> None:
        await self._supervisor.abort(name, reason)
        self._ended(name)

    async def abort_action(self, run: str, action: str, reason: str) -> None:
        actions = {each.action: each for each in await self.actions(run)}
        if action == ROOT:
            await self.abort(run, reason)
        elif action not in actions:
            meant = did_you_mean(action, actions)
            raise ValueError(f"Run {run!r} has no action {action!r} that has begun.{meant}")
        elif not actions[action].phase.is_terminal:
            self._aborting.order(run, action, reason)

    async def aborts(self, run: str, seen: list[str], timeout_s: float) -> dict[str, str]:
        if self._supervisor.get(run).phase.is_terminal:
            return {}
        return await self._aborting.orders(run, seen, timeout_s)

    async def record(self, events: bytes) -> None:
        self._record(pickle.loads(events))

    def _record(self, batch: list[ActionEvent]) -> None:
        self._supervisor.record(batch)
        self._waiting.record(batch)
        self._leases.record(batch)

    async def confirm(self, done: bytes) -> None:
        told: ChildrenDone = pickle.loads(done)
        recorded = self._registry.actions.succeeded(told.run, [child.action for child in told.children])
        missing = [told.event(child) for child in told.children if child.action not in recorded]
        if missing:
            self._record(missing)

    async def finished(self, ended: RunEnd) -> None:
        self._supervisor.finished(ended)
        self._ended(ended.run)
        if ended.phase is ActionPhase.SUCCEEDED:
            self._outputs.succeeded(ended.run)

    async def _told_of(self, run: str) -> None:
        """Wait for the last reports on the children of a run that has just ended: who looks on is told all."""
        await asyncio.sleep(self._just_ended.get(run, 0.0) + _LAST_REPORTS_S - time.monotonic())

    def _ended(self, run: str) -> None:
        at = time.monotonic()
        self._just_ended = {
            name: ended for name, ended in self._just_ended.items() if ended + _LAST_REPORTS_S > at
        }
        self._just_ended[run] = at
        self._waiting.ended(run)
        self._leases.ended(run)
        self._aborting.ended(run)
