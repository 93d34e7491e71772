"""The registry's actions: each as its latest event tells."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from flyteray._control.registry.database import Database, recorded
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.tables import actions
from flyteray._control.runs.actions import after
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase

_BATCH = 5000  # keys of one query; SQLite takes 32,766 variables


class ActionRecords:
    """Actions by run and name."""

    def __init__(self, database: Database, runs: RunRecords) -> None:
        self._database = database
        self._runs = runs

    def record(self, events: Sequence[ActionEvent]) -> None:
        """Take in the events that workers report, in whatever order they arrive."""
        with self._database.write() as connection:
            for start in range(0, len(events), _BATCH):
                self._record(connection, events[start : start + _BATCH])

    def _record(self, connection: Connection, events: Sequence[ActionEvent]) -> None:
        in_runs = actions.c.run.in_({event.run for event in events})
        named = actions.c.action.in_({event.action for event in events})
        rows = connection.execute(select(actions).where(in_runs, named))
        known = {(row.run, row.action): ActionInfo(**row._mapping) for row in rows}
        changed: dict[tuple[str, str], ActionInfo] = {}
        for reported in events:
            key = reported.run, reported.action
            changed[key] = after(changed.get(key) or known.get(key), reported)
        told = [recorded(info, actions) for info in changed.values()]
        connection.execute(self._database.upsert(actions, ["run", "action"]), told)

    def begun(self, run: str, names: Collection[str]) -> set[str]:
        """Those of some actions of a run that are recorded as more than queued."""
        asked = list(names)
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(asked), _BATCH):
                named = actions.c.action.in_(asked[start : start + _BATCH])
                query = select(actions.c.action).where(actions.c.run == run, named)
                found.update(connection.scalars(query.where(actions.c.phase != ActionPhase.QUEUED)))
        return found

    def of_run(self, run: str) -> list[ActionInfo]:
        """The actions of a run: the root, the others as they started, those that have not; errors as of its run."""
        order = actions.c.parent.is_not(None), actions.c.started_at.is_(None), actions.c.started_at
        query = select(actions).where(actions.c.run == run).order_by(*order, actions.c.action)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            self._runs.get(run)
        return [ActionInfo(**row._mapping) for row in rows]
