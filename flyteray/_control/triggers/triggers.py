"""Triggers, and the artifacts that they can wait for, answer: what there is, and what is to change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from flyteray._actors.controller import Triggers as TriggersDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.triggers.artifacts import ArtifactRecords
from flyteray._plan.triggers.artifacts import ArtifactInfo, Publication
from flyteray._plan.triggers.schedule import next_tick
from flyteray._plan.triggers.trigger import TriggerInfo, TriggerSpec


class Triggers(TriggersDoor):
    """The triggers of a cluster; ``changed`` is called after each change."""

    def __init__(self, registry: Registry, changed: Callable[[], None]) -> None:
        self._records = registry.triggers
        self._changed = changed

    async def deploy(
        self, tasks: Collection[str], declared: Sequence[tuple[TriggerSpec, bytes, bool]]
    ) -> None:
        self._records.replace(tasks, declared, now())
        self._changed()

    async def create(self, spec: TriggerSpec, inputs: bytes, active: bool) -> TriggerInfo:
        made = self._records.put(spec, inputs, active, now())
        self._changed()
        return _with_next(made)

    async def get(self, task: str, name: str) -> TriggerInfo:
        return _with_next(self._records.get(task, name))

    async def inputs(self, task: str, name: str) -> bytes:
        return self._records.inputs(task, name)

    async def listall(self, task: str | None, limit: int | None) -> list[TriggerInfo]:
        return [_with_next(each) for each in self._records.listall(task, limit)]

    async def set_active(self, task: str, name: str, active: bool) -> TriggerInfo:
        found = self._records.set_active(task, name, active, now())
        self._changed()
        return _with_next(found)

    async def delete(self, task: str, name: str) -> None:
        self._records.delete(task, name)
        self._changed()


class Artifacts(ArtifactRecords):
    """The artifacts of a cluster; ``came`` is called when there are new versions."""

    def __init__(self, database: Database, came: Callable[[], None]) -> None:
        super().__init__(database)
        self._came = came

    async def publish(self, published: Sequence[Publication]) -> list[ArtifactInfo]:
        kept = await super().publish(published)
        self._came()
        return kept


def _with_next(info: TriggerInfo) -> TriggerInfo:
    schedule = info.spec.schedule
    if schedule is None or not info.active:
        return info
    return info.model_copy(update={"next_tick": next_tick(schedule, max(now(), info.since), info.since)})
