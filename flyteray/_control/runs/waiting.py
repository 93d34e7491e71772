"""Runs and actions that have not begun wait for something: it is told as it is at the moment, and never recorded."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._plan import placement
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, RunInfo
from flyteray._plan.placement import ClusterView
from flyteray._plan.spec import EnvironmentSpec, ImageSpec

_TOLD_AFTER = timedelta(seconds=1.5)  # before, Ray does not tell yet of what it can't place
_NAMED = 3  # runs
_CONDITIONS = 10_000
_IMAGE = "waits for its image, which is being built"
_WORKER = "waits for its worker process, which is being started"


class Waiting:
    """The runs and actions of a cluster, with what each waits for; ``look`` gives the cluster as it is now."""

    def __init__(
        self, registry: Registry, is_building: Callable[[ImageSpec], bool], look: Callable[[], ClusterView]
    ) -> None:
        self._registry = registry
        self._is_building = is_building
        self._look = look
        self._children: defaultdict[str, dict[str, EnvironmentSpec]] = defaultdict(dict)  # by run and action

    def record(self, events: Iterable[ActionEvent]) -> None:
        """Take in the events that workers report: some children wait, others no longer do."""
        for event in events:
            if event.phase is ActionPhase.QUEUED and event.environment is not None:
                self._children[event.run][event.action] = event.environment
            elif event.run in self._children:
                self._children[event.run].pop(event.action, None)

    def ended(self, run: str) -> None:
        """Note that nothing of a run waits any more."""
        self._children.pop(run, None)

    async def run(self, info: RunInfo) -> RunInfo:
        """A run as :meth:`runs` gives it."""
        return (await self.runs([info]))[0]

    async def runs(self, infos: Sequence[RunInfo]) -> list[RunInfo]:
        """Runs, each with what it, or those of its children that have not begun, wait for: rooms, images, people."""
        return self._paused(await self._unbegun(infos))

    def _paused(self, infos: list[RunInfo]) -> list[RunInfo]:
        if all(info.phase.is_terminal for info in infos):
            return infos
        asked = {each.run: each for each in self._registry.conditions.listall(None, True, _CONDITIONS)}

        def told(info: RunInfo) -> RunInfo:
            if info.phase.is_terminal or info.name not in asked:
                return info  # who asks has begun, also where that was not reported yet
            return info.model_copy(update={"phase": ActionPhase.PAUSED, "waiting": asked[info.name].told})

        return [told(info) for info in infos]

    async def _unbegun(self, infos: Sequence[RunInfo]) -> list[RunInfo]:
        if not any(info.phase is ActionPhase.QUEUED or self._children.get(info.name) for info in infos):
            return list(infos)
        cluster = await asyncio.to_thread(self._look)
        return [self._run(info, cluster) for info in infos]

    async def actions(self, run: str, infos: Sequence[ActionInfo]) -> list[ActionInfo]:
        """The actions of a run; those that have not begun with what they wait for."""
        children = self._children.get(run, {})
        if not any(info.action in children for info in infos):
            return list(infos)
        cluster = await asyncio.to_thread(self._look)

        def told(info: ActionInfo) -> ActionInfo:
            if info.phase is not ActionPhase.QUEUED or info.action not in children:
                return info
            phase, waiting = self._told(children[info.action], cluster)
            return info.model_copy(update={"phase": phase, "waiting": waiting})

        return [told(info) for info in infos]

    def _run(self, info: RunInfo, cluster: ClusterView) -> RunInfo:
        if info.phase is ActionPhase.QUEUED:
            return self._queued(info, cluster)
        children = {} if info.phase.is_terminal else self._waiting_children(info.name)
        if not children:
            return info
        told = dict.fromkeys(self._told(environment, cluster)[1] for environment in children.values())
        why = "; ".join(each.removeprefix("waits ") for each in told)
        if len(children) == 1:
            waiting = f"waits for its action {next(iter(children))}, which waits {why}"
        else:
            waiting = f"waits for {len(children)} of its actions, which wait {why}"
        return info.model_copy(update={"waiting": waiting})

    def _waiting_children(self, run: str) -> dict[str, EnvironmentSpec]:
        children = self._children.get(run, {})
        if children:  # a parent's report may arrive after that of the child's own worker
            for begun in self._registry.actions.begun(run, children):
                del children[begun]
        return children

    def _queued(self, info: RunInfo, cluster: ClusterView) -> RunInfo:
        environment = self._registry.runs.spec(info.name).task.environment
        phase, waiting = self._told(environment, cluster)
        if phase is ActionPhase.WAITING_FOR_RESOURCES:
            waiting += self._in_front(info)
        elif waiting == _WORKER and now() - info.created_at < _TOLD_AFTER:
            return info
        return info.model_copy(update={"phase": phase, "waiting": waiting})

    def _told(self, environment: EnvironmentSpec, cluster: ClusterView) -> tuple[ActionPhase, str]:
        if environment.image is not None and self._is_building(environment.image):
            return ActionPhase.INITIALIZING, _IMAGE
        waits = placement.waiting(placement.fitted(environment, cluster), cluster)
        if waits is not None:
            return ActionPhase.WAITING_FOR_RESOURCES, waits
        return ActionPhase.INITIALIZING, _WORKER

    def _in_front(self, info: RunInfo) -> str:
        """The other runs that a run may wait for, in words."""
        found = self._registry.runs.listall(phase=ActionPhase.RUNNING, limit=_NAMED + 1)
        running = [run.name for run in found]
        earlier = self._registry.runs.queued_before(info.name)
        told = ", ".join(running[:_NAMED]) + (" and others" if len(running) > _NAMED else "")
        before = f"; {earlier} other {'runs were' if earlier > 1 else 'run was'} queued before it"
        return (f"; running: {told}" if running else "") + before * bool(earlier)
