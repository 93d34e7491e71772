"""The registry's notices: the notifications of runs that have ended, sent or still to be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import notices, runs
from flyteray._plan.info import ActionPhase, ErrorInfo, NoticeInfo
from flyteray._plan.spec import RunSpec


@dataclass(frozen=True)
class Notice:
    """One notification of a run that has ended, which was tried that often."""

    id: int
    number: int
    tries: int
    spec: RunSpec
    phase: ActionPhase
    error: ErrorInfo | None


class NoticeRecords:
    """Notices by run. They are recorded with the end of it, so that none is forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._called: Callable[[], None] | None = None

    def on_new(self, call: Callable[[], None]) -> None:
        """Have a function called when there are new ones."""
        self._called = call

    def add(self, connection: Connection, run: str, phase: ActionPhase, at: datetime) -> bool:
        """Record, in the transaction that records how a run has ended, who is to be told; whether anybody is."""
        spec: RunSpec = connection.execute(select(runs.c.spec).where(runs.c.name == run)).scalar_one()
        told = [
            number
            for number, each in enumerate(spec.notifications)
            if not each.phases or phase.value in each.phases
        ]
        for number in told:
            row = {"run": run, "number": number, "tries": 0, "due_at": at}
            connection.execute(insert(notices).values(row))
        return bool(told)

    def added(self) -> None:
        """Tell, once that transaction has ended, that there are new ones."""
        if self._called is not None:
            self._called()

    def due(self, at: datetime) -> list[Notice]:
        """The notices to be sent by now, the oldest first."""
        query = (
            select(notices.c.id, notices.c.number, notices.c.tries, runs.c.spec, runs.c.phase, runs.c.error)
            .join(runs, runs.c.name == notices.c.run)
            .where(notices.c.due_at <= at)
            .order_by(notices.c.id)
        )
        with self._database.read() as connection:
            return [Notice(**row._mapping) for row in connection.execute(query)]

    def next_due(self) -> datetime | None:
        """When one is to be sent next; None: there is none."""
        with self._database.read() as connection:
            # Not min() of the column: of that a database forgets which type it has.
            query = select(notices.c.due_at).where(notices.c.due_at.is_not(None)).order_by(notices.c.due_at)
            found: datetime | None = connection.scalar(query.limit(1))
            return found

    def tried(self, notice: Notice, at: datetime, error: str | None, again_at: datetime | None) -> None:
        """Note that a notice was sent, or an error why not, and when it is tried again."""
        values = {
            "tries": notice.tries + 1,
            "due_at": again_at,
            "sent_at": None if error else at,
            "error": error,
        }
        with self._database.write() as connection:
            connection.execute(update(notices).where(notices.c.id == notice.id).values(values))

    def of_run(self, run: str) -> list[NoticeInfo]:
        """The notices of a run, in the order of its notifications."""
        query = select(notices).where(notices.c.run == run).order_by(notices.c.number)
        with self._database.read() as connection:
            spec: RunSpec | None = connection.scalar(select(runs.c.spec).where(runs.c.name == run))
            return [
                NoticeInfo(
                    kind=spec.notifications[row.number].kind if spec else "",
                    tries=row.tries,
                    sent_at=row.sent_at,
                    error=row.error,
                    next_try_at=row.due_at,
                )
                for row in connection.execute(query)
            ]
