"""The registry's attempts: how each try of an action went that was not the only one, or did not succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from flyteray._control.registry.database import Database, recorded
from flyteray._control.registry.tables import actions, attempts
from flyteray._control.runs.actions import of_one_call
from flyteray._control.runs.attempts import after_attempt, is_kept
from flyteray._plan.info import ActionEvent, ActionInfo, AttemptInfo


class AttemptRecords:
    """Attempts by run, action and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        connection: Connection,
        events: Sequence[ActionEvent],
        known: Mapping[tuple[str, str], ActionInfo],
    ) -> None:
        """Take in events as a part of a transaction; ``known`` are the actions as they were before, by run and name."""
        kept = [event for event in events if is_kept(event)]
        if not kept:
            return
        in_runs = attempts.c.run.in_({event.run for event in kept})
        named = attempts.c.action.in_({event.action for event in kept})
        rows = connection.execute(select(attempts).where(in_runs, named))
        there = {(row.run, row.action, row.attempt): AttemptInfo(**row._mapping) for row in rows}
        for event in kept:
            key = event.run, event.action, event.attempt + 1
            there[key] = after_attempt(there.get(key), event, known.get(key[:2]))
        changed = {(event.run, event.action, event.attempt + 1) for event in kept}
        told = [recorded(there[key], attempts) for key in changed]
        connection.execute(self._database.upsert(attempts, ["run", "action", "attempt"]), told)

    def began(self, run: str, action: str, attempt: int) -> datetime | None:
        """When an attempt, counted from 1, began; None where it has not, or nobody has told so."""
        here = (attempts.c.run == run) & (attempts.c.action == action) & (attempts.c.attempt == attempt)
        first = (actions.c.run == run) & (actions.c.action == action) & (actions.c.attempts == attempt)
        with self._database.read() as connection:
            found: datetime | None = connection.scalar(select(attempts.c.started_at).where(here))
            if found is None and attempt == 1:
                found = connection.scalar(select(actions.c.started_at).where(first))
        return found

    def of_action(self, action: ActionInfo) -> list[AttemptInfo]:
        """The attempts of an action, the first one first."""
        query = select(attempts).where(attempts.c.run == action.run, attempts.c.action == action.action)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(attempts.c.attempt)).all()
        found = [of_one_call(AttemptInfo(**row._mapping)) for row in rows]
        if found and found[-1].attempt >= action.attempts:
            return found
        action = of_one_call(action)
        last = AttemptInfo(
            run=action.run,
            action=action.action,
            attempt=action.attempts,
            phase=action.phase,
            started_at=action.started_at if action.attempts == 1 else None,
            ended_at=action.ended_at,
            error=action.error,
        )
        return [*found, last]
