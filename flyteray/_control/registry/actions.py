"""The registry's actions: each as its latest event tells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select

from flyteray._control.registry.attempts import AttemptRecords
from flyteray._control.registry.database import Database, recorded
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.tables import actions, inputs, runs
from flyteray._control.runs.actions import after
from flyteray._plan.actions.tree import MATTER, Census, Kind
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase

_BATCH = 5000  # keys of one query; SQLite takes 32,766 variables


class ActionRecords:
    """Actions by run and name."""

    def __init__(self, database: Database, runs: RunRecords) -> None:
        self._database = database
        self._runs = runs
        self.tries = AttemptRecords(database)

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
        self.tries.record(connection, events, known)
        given = {(event.run, event.action): event.inputs for event in events if event.inputs is not None}
        if given:
            rows_of = [{"run": run, "action": name, "pickled": data} for (run, name), data in given.items()]
            connection.execute(self._database.upsert(inputs, ["run", "action"]), rows_of)

    def phases(self) -> dict[str, int]:
        """How many actions of runs that have not ended are in each phase."""
        under_way = select(runs.c.name).where(runs.c.ended_at.is_(None))
        query = (
            select(actions.c.phase, func.count())
            .where(actions.c.run.in_(under_way))
            .group_by(actions.c.phase)
        )
        with self._database.read() as connection:
            return {str(phase): count for phase, count in connection.execute(query)}

    def begun(self, run: str, names: Collection[str]) -> set[str]:
        """Those of some actions of a run that are recorded as more than queued."""
        return self._in_phases(
            run, names, [phase for phase in ActionPhase if phase is not ActionPhase.QUEUED]
        )

    def succeeded(self, run: str, names: Collection[str]) -> set[str]:
        """Those of some actions of a run that are recorded as done."""
        return self._in_phases(run, names, [ActionPhase.SUCCEEDED, ActionPhase.RECOVERED])

    def _in_phases(self, run: str, names: Collection[str], phases: list[ActionPhase]) -> set[str]:
        asked = list(names)
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(asked), _BATCH):
                named = actions.c.action.in_(asked[start : start + _BATCH])
                query = select(actions.c.action).where(actions.c.run == run, named)
                found.update(connection.scalars(query.where(actions.c.phase.in_(phases))))
        return found

    def attempts(self, run: str, action: str) -> int:
        """The number of attempts of an action that are recorded; 0 where there is no such action."""
        query = select(actions.c.attempts).where(actions.c.run == run, actions.c.action == action)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def get(self, run: str, action: str) -> ActionInfo | None:
        """An action of a run; None where nothing is known of it."""
        query = select(actions).where(actions.c.run == run, actions.c.action == action)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else ActionInfo(**row._mapping)

    def inputs(self, run: str, action: str) -> bytes | None:
        """The pickled inputs of an action; None where they are not here."""
        query = select(inputs.c.pickled).where(inputs.c.run == run, inputs.c.action == action)
        with self._database.read() as connection:
            found: bytes | None = connection.scalar(query)
        return found

    def of_run(self, run: str) -> list[ActionInfo]:
        """The actions of a run: the root, the others as they started, those that have not; errors as of its run."""
        with self._database.read() as connection:
            rows = connection.execute(_in_order(select(actions).where(actions.c.run == run))).all()
        if not rows:
            self._runs.get(run)
        return [ActionInfo(**row._mapping) for row in rows]

    def census(self, run: str, most: int) -> Census:
        """How many actions of each kind a run has, and ``most`` of them, first those that matter; see Census."""
        kind = (
            *(actions.c[name] for name in ("parent", "group", "task", "phase")),
            actions.c.cached.is_not(None),
        )
        of_run = actions.c.run == run
        callers = select(actions.c.parent).where(of_run, actions.c.parent.is_not(None)).distinct()
        matters = actions.c.parent.is_(None) | actions.c.action.in_(callers) | actions.c.phase.in_(MATTER)
        with self._database.read() as connection:
            rows = connection.execute(select(*kind, func.count()).where(of_run).group_by(*kind)).all()
            asked = select(actions).where(of_run)
            if sum(number for *_, number in rows) > most:
                asked = asked.where(matters).limit(most)
            told = connection.execute(_in_order(asked)).all()
        names = "parent", "group", "task", "phase", "cached", "number"
        return Census(
            kinds=tuple(Kind(**dict(zip(names, row, strict=True))) for row in rows),
            actions=tuple(ActionInfo(**row._mapping) for row in told),
        )


def _in_order(query: Select[Any]) -> Select[Any]:
    order = actions.c.parent.is_not(None), actions.c.started_at.is_(None), actions.c.started_at
    return query.order_by(*order, actions.c.action)
