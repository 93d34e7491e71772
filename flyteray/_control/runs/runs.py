"""Runs answer clients, workers and apps: as they are recorded, and with the reason why they wait at the moment."""

from __future__ import annotations

import pickle

from flyteray._actors.controller import Runs as RunsDoor
from flyteray._actors.controller import SharedStorage
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.secrets import Secrets
from flyteray._control.runs.actions import as_of
from flyteray._control.runs.outputs import Outputs
from flyteray._control.runs.supervisor import Supervisor
from flyteray._control.runs.waiting import Waiting
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionEvent, ActionInfo, ActionPhase, RunEnd, RunInfo
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.pickling import Payload


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
    ) -> None:
        self._supervisor = supervisor
        self._registry = registry
        self._waiting = waiting
        self._secrets = secrets
        self._outputs = outputs
        self._shared = shared

    async def start(self, spec: RunSpec, inputs: Payload) -> RunInfo:
        await self._shared.prove(place=spec.wide.raw_data_path)
        self._secrets.require(secret.name for secret in spec.task.environment.secrets)
        await self._supervisor.start(spec, inputs)
        return self._supervisor.get(spec.name)

    async def get(self, name: str) -> RunInfo:
        return await self._waiting.run(self._supervisor.get(name))

    async def wait(self, name: str, timeout_s: float) -> RunInfo:
        return await self._waiting.run(await self._supervisor.wait(name, timeout_s))

    async def listall(self, task: str | None, phase: ActionPhase | None, limit: int) -> list[RunInfo]:
        recorded = ActionPhase.QUEUED if phase in BEFORE_IT_BEGINS else phase
        found = await self._waiting.runs(self._registry.runs.listall(task=task, phase=recorded, limit=limit))
        return [run for run in found if phase in (None, recorded, run.phase)]

    async def actions(self, run: str) -> list[ActionInfo]:
        info, at = self._supervisor.get(run), now()
        recorded = [as_of(info, action, at) for action in self._registry.actions.of_run(run)]
        return await self._waiting.actions(run, recorded)

    async def abort(self, name: str, reason: str) -> None:
        await self._supervisor.abort(name, reason)
        self._waiting.ended(name)

    async def record(self, events: bytes) -> None:
        batch: list[ActionEvent] = pickle.loads(events)
        self._supervisor.record(batch)
        self._waiting.record(batch)

    async def finished(self, ended: RunEnd) -> None:
        self._supervisor.finished(ended)
        self._waiting.ended(ended.run)
        if ended.phase is ActionPhase.SUCCEEDED:
            self._outputs.succeeded(ended.run)
