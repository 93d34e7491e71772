"""Conditions answer the tasks that wait for them, and take in what people say."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from flyteray._actors.controller import Conditions as ConditionsDoor
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.runs.supervisor import Supervisor
from flyteray._declare.near import did_you_mean
from flyteray._plan.actions.conditions import ConditionInfo, answer
from flyteray._plan.info import ActionEvent, ActionPhase
from flyteray.errors import ConditionAlreadyExistsError, ConditionFailedError, ConditionNotFoundError

_MANY = 10_000


class Conditions(ConditionsDoor):
    """The conditions of a cluster's runs."""

    def __init__(self, registry: Registry, supervisor: Supervisor) -> None:
        self._registry = registry
        self._supervisor = supervisor
        self._changed: defaultdict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)

    async def create(self, info: ConditionInfo) -> ConditionInfo:
        for other in self._registry.conditions.listall(info.run, waiting=True, limit=_MANY):
            same = (other.parent, other.name) == (info.parent, info.name)
            if same and other.action != info.action:
                raise ConditionAlreadyExistsError(
                    f"Condition {info.name!r} is waited for already in this task: give another one another name."
                )
        known = self._registry.conditions.add(info)
        if known.state == "waiting":
            self._supervisor.record([_event(known, ActionPhase.PAUSED)])
        return known

    async def wait(self, run: str, action: str, timeout_s: float) -> ConditionInfo:
        info = self._get(run, action)
        if info.state != "waiting":
            return info
        if info.deadline is not None:
            timeout_s = min(timeout_s, (info.deadline - now()).total_seconds())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed[run, action].wait(), max(0.0, timeout_s))
        info = self._get(run, action)
        if info.state == "waiting" and info.deadline is not None and now() >= info.deadline:
            info = info.ended("timed_out", now())
            self._end(info)
        return info

    async def signal(self, run: str, condition: str, value: object) -> ConditionInfo:
        info = self._find(run, condition)
        if info.state == "waiting" and self._supervisor.get(run).phase.is_terminal:
            info = info.ended("aborted", now())
            self._end(info)
        if info.state != "waiting":
            said = f" by {info.value!r}" if info.state == "signalled" else ""
            raise ConditionFailedError(
                f"Condition {info.name!r} of run {run!r} waits no more: it was {info.state.replace('_', ' ')}{said}."
            )
        info = info.ended("signalled", now(), answer(info.kind, value))
        self._end(info)
        return info

    async def listall(
        self, run: str | None, action: str | None, waiting: bool, limit: int
    ) -> list[ConditionInfo]:
        if run is not None:
            self._supervisor.get(run)  # which says so where there is none
        found = self._registry.conditions.listall(run, waiting, limit)
        return [self._as_of_its_run(info) for info in found if action in (None, info.action, info.parent)]

    def _end(self, info: ConditionInfo) -> None:
        self._registry.conditions.put(info)
        if event := self._changed.pop((info.run, info.action), None):
            event.set()

    def _get(self, run: str, action: str) -> ConditionInfo:
        found = self._registry.conditions.get(run, action)
        if found is None:
            raise ConditionNotFoundError(f"Action {action!r} of run {run!r} is no condition.")
        return found

    def _find(self, run: str, condition: str) -> ConditionInfo:
        """The condition of that action or name; of one name that which waits, else the newest."""
        self._supervisor.get(run)
        there = self._registry.conditions.listall(run, waiting=False, limit=_MANY)
        meant = [info for info in there if condition in (info.action, info.name)]
        meant.sort(key=lambda info: info.state != "waiting")
        if not meant:
            names = sorted({info.name for info in there})
            hint = did_you_mean(condition, names) or (
                f" It has {', '.join(map(repr, names))}." if names else " It has none."
            )
            raise ConditionNotFoundError(f"Run {run!r} has no condition {condition!r}.{hint}")
        return meant[0]

    def _as_of_its_run(self, info: ConditionInfo) -> ConditionInfo:
        run = self._supervisor.get(info.run)
        return (
            info.ended("aborted", run.ended_at or now())
            if info.state == "waiting" and run.phase.is_terminal
            else info
        )


def _event(info: ConditionInfo, phase: ActionPhase) -> ActionEvent:
    return ActionEvent(
        run=info.run,
        action=info.action,
        parent=info.parent,
        task=f"condition {info.name}",
        phase=phase,
        at=info.created_at.timestamp(),
        began=info.created_at.timestamp(),
    )
