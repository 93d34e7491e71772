"""The registry's runs: what each was asked to do, where it stands and how it ended."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Text, func, insert, select, type_coerce, update
from sqlalchemy.exc import IntegrityError

from flyteray._control.registry.database import Database, now, recorded
from flyteray._control.registry.notices import NoticeRecords
from flyteray._control.registry.tables import runs
from flyteray._declare.near import did_you_mean, near
from flyteray._plan.info import ActionPhase, ErrorInfo, RunInfo
from flyteray._plan.runs import RunFilter
from flyteray._plan.spec import RunSpec
from flyteray.errors import RunAlreadyExistsError, RunNotFoundError

_UNFINISHED = [phase for phase in ActionPhase if not phase.is_terminal]
_UPDATED = func.coalesce(runs.c.ended_at, runs.c.started_at, runs.c.created_at, type_=runs.c.created_at.type)
_INFO = [runs.c[name] for name in RunInfo.model_fields if name in runs.c]  # not what it waits for


class RunRecords:
    """Runs by name."""

    def __init__(self, database: Database, notices: NoticeRecords) -> None:
        self._database = database
        self._notices = notices

    def create(self, spec: RunSpec, at: datetime) -> RunInfo:
        """Record a run as queued; RunAlreadyExistsError where its name is taken."""
        run = RunInfo(
            name=spec.name,
            task=spec.task.name,
            phase=ActionPhase.QUEUED,
            created_at=at,
            version=spec.task.version,
            labels=spec.labels,
        )
        try:
            with self._database.write() as connection:
                connection.execute(insert(runs), {**recorded(run, runs), "spec": spec})
        except IntegrityError as error:
            raise RunAlreadyExistsError(spec.name) from error
        return run

    def started(self, name: str, at: datetime) -> None:
        """Note that a run's task began; the earliest report counts, and none brings an ended run back."""
        with self._database.write() as connection:
            earlier = runs.c.started_at.is_(None) | (runs.c.started_at > at)
            connection.execute(update(runs).where(runs.c.name == name, earlier).values(started_at=at))
            queued = (runs.c.name == name) & (runs.c.phase == ActionPhase.QUEUED)
            connection.execute(update(runs).where(queued).values(phase=ActionPhase.RUNNING))

    def reused(self, name: str, cached: str) -> None:
        """Note that the result of a run is that of another one."""
        with self._database.write() as connection:
            connection.execute(update(runs).where(runs.c.name == name).values(cached=cached))

    def finish(
        self,
        name: str,
        phase: ActionPhase,
        error: ErrorInfo | None,
        output_bytes: int | None,
        at: datetime,
        cached: str | None = None,
    ) -> bool:
        """Note how a run ended. False: it had ended before, and nothing changes. Errors as in :meth:`get`."""
        ended: dict[str, Any] = {
            "phase": phase,
            "error": error,
            "output_bytes": output_bytes,
            "ended_at": at,
        }
        if cached is not None:
            ended["cached"] = cached
        with self._database.write() as connection:
            running = (runs.c.name == name) & runs.c.phase.in_(_UNFINISHED)
            is_news = bool(connection.execute(update(runs).where(running).values(ended)).rowcount)
            told = is_news and self._notices.add(connection, name, phase, at)
        if told:
            self._notices.added()
        if is_news:
            return True
        self.get(name)
        return False

    def get(self, name: str) -> RunInfo:
        """A run; RunNotFoundError, which names similar ones, where there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(*_INFO).where(runs.c.name == name)).one_or_none()
            if row is None:
                raise _no_run(name, connection)
        return _info(row)

    def spec(self, name: str) -> RunSpec:
        """The spec of a run; errors as in :meth:`get`."""
        with self._database.read() as connection:
            spec: RunSpec | None = connection.scalar(select(runs.c.spec).where(runs.c.name == name))
            if spec is None:
                raise _no_run(name, connection)
        return spec

    def listall(
        self, task: str | None = None, phase: ActionPhase | None = None, limit: int = 100
    ) -> list[RunInfo]:
        """Runs, newest first; only those of a task or in a phase if given."""
        return self.find(RunFilter(task=task, phases=() if phase is None else (phase,), limit=limit))

    def find(self, asked: RunFilter) -> list[RunInfo]:
        """The runs that are asked for, in their recorded phases."""
        query = select(*_INFO).order_by(*_order(asked))
        if asked.task is not None:
            query = query.where(runs.c.task == asked.task)
        if asked.version is not None:
            query = query.where(runs.c.version == asked.version)
        if asked.phases:
            query = query.where(runs.c.phase.in_(asked.recorded_phases))
        for column, span in ((runs.c.created_at, asked.created), (_UPDATED, asked.updated)):
            if span.after is not None:
                query = query.where(column >= span.after)
            if span.before is not None:
                query = query.where(column < span.before)
        if not (asked.labels or asked.label_keys):
            query = query.limit(asked.limit)
        else:
            query = query.where(runs.c.labels.is_not(None)).execution_options(yield_per=100)
        with self._database.read() as connection:
            rows = (row for row in connection.execute(query) if asked.has_labels(row.labels))
            return [_info(row) for row in islice(rows, asked.limit)]

    def newest_success(self, task: str, version: str | None = None) -> str | None:
        """The newest run of a task, or of a ``version`` of it, that has succeeded; None: none did."""
        of_task = (runs.c.task == task) & (runs.c.phase == ActionPhase.SUCCEEDED)
        query = select(runs.c.name).where(of_task).order_by(runs.c.id.desc())
        with self._database.read() as connection:
            if version is None:
                return connection.scalar(query.limit(1))
            # Code has a version as well, so the text alone does not tell; but it spares reading most of the specs.
            told = type_coerce(runs.c.spec, Text).contains(f'"version":"{version}"', autoescape=True)
            query = query.where(told).add_columns(runs.c.spec)
            rows = connection.execute(query.execution_options(yield_per=100))
            return next((row.name for row in rows if row.spec.task.version == version), None)

    def queued_before(self, name: str) -> int:
        """The number of runs that have not begun and were created before one."""
        this = select(runs.c.id).where(runs.c.name == name).scalar_subquery()
        earlier = (runs.c.phase == ActionPhase.QUEUED) & (runs.c.id < this)
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(runs).where(earlier)) or 0

    def phases(self) -> dict[str, int]:
        """How many runs are in each phase."""
        query = select(runs.c.phase, func.count()).group_by(runs.c.phase)
        with self._database.read() as connection:
            return {str(phase): count for phase, count in connection.execute(query)}

    def unfinished(self) -> list[str]:
        """The names of the runs that have not ended, oldest first."""
        query = select(runs.c.name).where(runs.c.phase.in_(_UNFINISHED)).order_by(runs.c.id)
        with self._database.read() as connection:
            return list(connection.scalars(query))


def _order(asked: RunFilter) -> tuple[Any, ...]:
    if asked.sorted_by == "created_at":  # which is the order of the rows
        return (runs.c.id.desc() if asked.descending else runs.c.id,)
    column = _UPDATED if asked.sorted_by == "updated_at" else runs.c[asked.sorted_by]
    return (column.is_(None), column.desc() if asked.descending else column, runs.c.id.desc())


def _info(row: Row[Any]) -> RunInfo:
    """A run, which began after it was created and before it ended: its worker's clock may say something else."""
    info = RunInfo(**row._mapping)
    if info.started_at is None:
        return info
    started = max(info.created_at, min(info.started_at, info.ended_at or now()))
    return info.model_copy(update={"started_at": started})


def _no_run(name: str, connection: Connection) -> RunNotFoundError:
    recent = connection.scalars(select(runs.c.name).order_by(runs.c.id.desc()).limit(1000)).all()
    if near(name, recent):
        hint = did_you_mean(name, recent)
    elif recent:
        hint = f" The newest runs are {', '.join(map(repr, recent[:3]))}."
    else:
        hint = " There are no runs yet."
    return RunNotFoundError(f"There is no run {name!r}.{hint}")
