"""The registry's conditions: what runs wait for people to say, and what was said."""

from __future__ import annotations

from sqlalchemy import Connection, select

from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import conditions
from flyteray._plan.actions.conditions import ConditionInfo


class ConditionRecords:
    """Conditions by run and action."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, info: ConditionInfo) -> ConditionInfo:
        """Record a condition; where its action has one already, that one is returned as it is."""
        with self._database.write() as connection:
            known = self._find(connection, info.run, info.action)
            if known is not None:
                return known
            self._put(connection, info)
            return info

    def put(self, info: ConditionInfo) -> None:
        """Record what a condition is now."""
        with self._database.write() as connection:
            self._put(connection, info)

    def get(self, run: str, action: str) -> ConditionInfo | None:
        """The condition that an action is; None where it is none."""
        with self._database.read() as connection:
            return self._find(connection, run, action)

    def listall(self, run: str | None, waiting: bool, limit: int) -> list[ConditionInfo]:
        """Conditions, newest first: of a run, or of all; with ``waiting`` those that nobody has answered yet."""
        query = select(conditions.c.info).order_by(conditions.c.created_at.desc()).limit(limit)
        if run is not None:
            query = query.where(conditions.c.run == run)
        if waiting:
            query = query.where(conditions.c.waiting)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def _find(self, connection: Connection, run: str, action: str) -> ConditionInfo | None:
        is_it = (conditions.c.run == run) & (conditions.c.action == action)
        found: ConditionInfo | None = connection.scalar(select(conditions.c.info).where(is_it))
        return found

    def _put(self, connection: Connection, info: ConditionInfo) -> None:
        row = {
            "run": info.run,
            "action": info.action,
            "waiting": info.state == "waiting",
            "created_at": info.created_at,
            "info": info,
        }
        connection.execute(self._database.upsert(conditions, ["run", "action"]), [row])
