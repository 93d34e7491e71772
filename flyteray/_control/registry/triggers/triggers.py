"""The registry's triggers: what each starts and when, whether it is active, and which tick was acted on last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import triggers
from flyteray._declare.near import did_you_mean
from flyteray._plan.triggers.trigger import TriggerInfo, TriggerSpec
from flyteray.errors import TriggerNotFoundError

_INFO = [triggers.c[name] for name in TriggerInfo.model_fields if name in triggers.c]  # not the next tick


class TriggerRecords:
    """Triggers by task and name; ``newest`` gives the id of the artifact that came last."""

    def __init__(self, database: Database, newest: Callable[[], int]) -> None:
        self._database = database
        self._newest = newest

    def replace(
        self, tasks: Collection[str], declared: Sequence[tuple[TriggerSpec, bytes, bool]], at: datetime
    ) -> None:
        """Record the triggers that tasks are deployed with, in place of those of their deployment before.

        With each come its pickled inputs, and whether it is active.
        """
        seen = self._newest()
        named = {(spec.task, spec.name) for spec, _, _ in declared}
        with self._database.write() as connection:
            for task in tasks:
                for found in _find(connection, triggers.c.task == task):
                    if found.spec.declared and (task, found.spec.name) not in named:
                        connection.execute(delete(triggers).where(_is(task, found.spec.name)))
            for spec, inputs, active in declared:
                self._put(connection, spec, inputs, active, at, seen)

    def put(self, spec: TriggerSpec, inputs: bytes, active: bool, at: datetime) -> TriggerInfo:
        """Record a trigger, in place of one of that name."""
        seen = self._newest()
        with self._database.write() as connection:
            self._put(connection, spec, inputs, active, at, seen)
        return self.get(spec.task, spec.name)

    def _put(
        self,
        connection: Connection,
        spec: TriggerSpec,
        inputs: bytes,
        active: bool,
        at: datetime,
        seen: int,
    ) -> None:
        row = {
            "task": spec.task,
            "name": spec.name,
            "spec": spec,
            "inputs": inputs,
            "active": active,
            "created_at": at,
            "updated_at": at,
            "since": at.replace(microsecond=0),
            "seen": seen,
            "last_tick": None,
            "last_run": None,
            "error": None,
        }
        for found in _find(connection, _is(spec.task, spec.name)):
            row["created_at"] = found.created_at
            same = (found.spec.schedule, found.spec.watch) == (spec.schedule, spec.watch)
            if same and found.active and active:
                # It goes on: an interval is not begun anew, and a tick that was missed is not forgotten.
                row |= {"since": found.since, "seen": found.seen}
                row |= {"last_tick": found.last_tick, "last_run": found.last_run}
        connection.execute(self._database.upsert(triggers, ["task", "name"]), row)

    def get(self, task: str, name: str) -> TriggerInfo:
        """A trigger; TriggerNotFoundError, which names similar ones, where there is none."""
        with self._database.read() as connection:
            return _one(connection, task, name)

    def inputs(self, task: str, name: str) -> bytes:
        """The pickled inputs of a trigger's runs; errors as in :meth:`get`."""
        with self._database.read() as connection:
            found: bytes | None = connection.scalar(select(triggers.c.inputs).where(_is(task, name)))
            if found is None:
                raise _no_trigger(task, name, connection)
        return found

    def listall(self, task: str | None = None, limit: int | None = None) -> list[TriggerInfo]:
        """Triggers by task and name, only those of a task if given."""
        with self._database.read() as connection:
            return _find(connection, *([triggers.c.task == task] if task is not None else []), limit=limit)

    def active(self) -> list[TriggerInfo]:
        """The active triggers that fire by themselves."""
        with self._database.read() as connection:
            return [each for each in _find(connection, triggers.c.active) if each.spec.fires]

    def set_active(self, task: str, name: str, active: bool, at: datetime) -> TriggerInfo:
        """Have a trigger start runs, or no more; ticks that come while it is not active are left out."""
        seen = self._newest()
        with self._database.write() as connection:
            found = _one(connection, task, name)
            changes: dict[str, Any] = {"active": active, "updated_at": at}
            if active and not found.active:
                changes |= {
                    "since": at.replace(microsecond=0),
                    "seen": seen,
                    "last_tick": None,
                    "error": None,
                }
            connection.execute(update(triggers).where(_is(task, name)).values(changes))
        return self.get(task, name)

    def acted(
        self,
        trigger: TriggerInfo,
        tick: datetime,
        run: str | None,
        error: str | None,
        artifact: int | None = None,
    ) -> None:
        """Note that a tick, or an artifact, was acted on: it has started a run, or an error says why it could not."""
        changes: dict[str, Any] = {"last_tick": tick, "error": error} | ({"last_run": run} if run else {})
        if artifact is not None:
            changes["seen"] = artifact
        this = _is(trigger.spec.task, trigger.spec.name)
        with self._database.write() as connection:
            # Not where it was put to use anew meanwhile, with another schedule.
            connection.execute(
                update(triggers).where(this, triggers.c.since == trigger.since).values(changes)
            )

    def is_as_it_was(self, trigger: TriggerInfo) -> bool:
        """Whether nobody has switched, replaced or deleted a trigger since it was looked at."""
        this = _is(trigger.spec.task, trigger.spec.name)
        with self._database.read() as connection:
            return connection.scalar(select(triggers.c.updated_at).where(this)) == trigger.updated_at

    def delete(self, task: str, name: str) -> None:
        """Forget a trigger; errors as in :meth:`get`."""
        with self._database.write() as connection:
            if not connection.execute(delete(triggers).where(_is(task, name))).rowcount:
                raise _no_trigger(task, name, connection)


def _is(task: str, name: str) -> Any:
    return (triggers.c.task == task) & (triggers.c.name == name)


def _find(connection: Connection, *conditions: Any, limit: int | None = None) -> list[TriggerInfo]:
    query = select(*_INFO).where(*conditions).order_by(triggers.c.task, triggers.c.name).limit(limit)
    return [TriggerInfo(**row._mapping) for row in connection.execute(query)]


def _one(connection: Connection, task: str, name: str) -> TriggerInfo:
    for found in _find(connection, _is(task, name)):
        return found
    raise _no_trigger(task, name, connection)


def _no_trigger(task: str, name: str, connection: Connection) -> TriggerNotFoundError:
    names = connection.scalars(select(triggers.c.name).where(triggers.c.task == task)).all()
    if names:
        return TriggerNotFoundError(
            f"Task {task!r} has no trigger {name!r}. It has {', '.join(map(repr, names))}."
            f"{did_you_mean(name, names)}"
        )
    tasks = connection.scalars(select(triggers.c.task).distinct()).all()
    return TriggerNotFoundError(
        f"Task {task!r} has no triggers.{did_you_mean(task, tasks)} `flyteray get trigger` lists them all."
    )
