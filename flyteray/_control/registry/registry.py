"""The durable record of runs, actions, deployed tasks and apps, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from flyteray._control.apps.state import AppRecord, ReplicaRecord, VersionRecord
from flyteray._control.registry import tables
from flyteray._control.registry.database import connect, upsert, writing
from flyteray._control.registry.tables import actions, apps, replicas, runs, schema, tasks, versions
from flyteray._control.runs.actions import after
from flyteray._declare.near import did_you_mean, near
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, ErrorInfo, RunInfo, TaskInfo
from flyteray._plan.spec import RunSpec, TaskPlan
from flyteray.errors import (
    InitializationError,
    RemoteTaskNotFoundError,
    RunAlreadyExistsError,
    RunNotFoundError,
)

_UNFINISHED = [phase for phase in ActionPhase if not phase.is_terminal]
_BATCH = 5000  # keys of one query; SQLite takes 32,766 variables
_TASK_INFO = [tasks.c.plan, tasks.c.deployed_at]
_RUN_INFO = [runs.c[name] for name in RunInfo.model_fields if name in runs.c]  # not what it waits for


class Registry:
    """What must survive a crash. Every method is one transaction; times are aware datetimes.

    Args:
        url: A SQLAlchemy URL: ``sqlite:////path/registry.sqlite`` (made if missing) or ``postgresql://…``.

    Raises:
        ValueError: not a URL, or of another database.
        InitializationError: the database can't be opened, or was written by a newer flyteray.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        shown = self._engine.url.render_as_string(hide_password=True)
        try:
            with self._write() as connection:
                schema.create(connection, checkfirst=True)
                found = connection.scalar(select(schema.c.version)) or tables.SCHEMA
                if found <= tables.SCHEMA:
                    tables.metadata.create_all(connection)
                    row = {"id": 1, "version": tables.SCHEMA}
                    connection.execute(upsert(self._engine, schema, ["id"]), row)
        except DBAPIError as error:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {shown} can't be opened: {error.orig}. Check the address and that it may be "
                "written, or name another one with flyteray.init(database=…).",
            ) from error
        if found > tables.SCHEMA:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {shown} was written by a newer flyteray (schema {found}; this one knows "
                f"{tables.SCHEMA}): upgrade flyteray, or name another one with flyteray.init(database=…).",
            )

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    # Runs

    def create_run(self, spec: RunSpec, at: datetime) -> RunInfo:
        """Record a run as queued.

        Raises:
            RunAlreadyExistsError: the name is taken.
        """
        run = RunInfo(name=spec.name, task=spec.task.name, phase=ActionPhase.QUEUED, created_at=at)
        try:
            with self._write() as connection:
                connection.execute(insert(runs), {**_row(run, runs), "spec": spec})
        except IntegrityError as error:
            raise RunAlreadyExistsError(spec.name) from error
        return run

    def run_started(self, name: str, at: datetime) -> None:
        """Note that a run's task began; the earliest report counts, and none brings an ended run back."""
        with self._write() as connection:
            earlier = runs.c.started_at.is_(None) | (runs.c.started_at > at)
            connection.execute(update(runs).where(runs.c.name == name, earlier).values(started_at=at))
            queued = (runs.c.name == name) & (runs.c.phase == ActionPhase.QUEUED)
            connection.execute(update(runs).where(queued).values(phase=ActionPhase.RUNNING))

    def finish_run(
        self, name: str, phase: ActionPhase, error: ErrorInfo | None, output_bytes: int | None, at: datetime
    ) -> bool:
        """Note how a run ended. False: it had ended before, and nothing changes.

        Raises:
            RunNotFoundError: there is no such run.
        """
        ended = {"phase": phase, "error": error, "output_bytes": output_bytes, "ended_at": at}
        with self._write() as connection:
            running = (runs.c.name == name) & runs.c.phase.in_(_UNFINISHED)
            if connection.execute(update(runs).where(running).values(ended)).rowcount:
                return True
        self.get_run(name)
        return False

    def get_run(self, name: str) -> RunInfo:
        """A run.

        Raises:
            RunNotFoundError: there is none; the message names similar ones.
        """
        with self._read() as connection:
            row = connection.execute(select(*_RUN_INFO).where(runs.c.name == name)).one_or_none()
            if row is None:
                raise _no_run(name, connection)
        return RunInfo(**row._mapping)

    def run_spec(self, name: str) -> RunSpec:
        """What a run was asked to do; errors as in :meth:`get_run`."""
        with self._read() as connection:
            spec: RunSpec | None = connection.scalar(select(runs.c.spec).where(runs.c.name == name))
            if spec is None:
                raise _no_run(name, connection)
        return spec

    def list_runs(
        self, task: str | None = None, phase: ActionPhase | None = None, limit: int = 100
    ) -> list[RunInfo]:
        """Runs, newest first; only those of a task or in a phase if given."""
        query = select(*_RUN_INFO).order_by(runs.c.id.desc()).limit(limit)
        if task is not None:
            query = query.where(runs.c.task == task)
        if phase is not None:
            query = query.where(runs.c.phase == phase)
        with self._read() as connection:
            return [RunInfo(**row._mapping) for row in connection.execute(query)]

    def newest_success(self, task: str, version: str | None = None) -> str | None:
        """The name of the run of a task that was started last of those that succeeded; None: none did.

        With ``version`` only runs of that version of the task count.
        """
        of_task = (runs.c.task == task) & (runs.c.phase == ActionPhase.SUCCEEDED)
        query = select(runs.c.name).where(of_task).order_by(runs.c.id.desc())
        with self._read() as connection:
            if version is None:
                return connection.scalar(query.limit(1))
            # Code has a version as well, so the text alone does not tell; but it spares reading most of the specs.
            told = type_coerce(runs.c.spec, Text).contains(f'"version":"{version}"', autoescape=True)
            query = query.where(told).add_columns(runs.c.spec)
            rows = connection.execute(query.execution_options(yield_per=100))
            return next((row.name for row in rows if row.spec.task.version == version), None)

    def queued_before(self, name: str) -> int:
        """How many runs that have not begun were created before one."""
        this = select(runs.c.id).where(runs.c.name == name).scalar_subquery()
        earlier = (runs.c.phase == ActionPhase.QUEUED) & (runs.c.id < this)
        with self._read() as connection:
            return connection.scalar(select(func.count()).select_from(runs).where(earlier)) or 0

    def known_tasks(self) -> list[str]:
        """The full names of the tasks that were deployed or run."""
        query = select(runs.c.task).union(select(tasks.c.name))
        with self._read() as connection:
            return list(connection.scalars(query))

    def unfinished_runs(self) -> list[str]:
        """The names of the runs that have not ended, oldest first."""
        query = select(runs.c.name).where(runs.c.phase.in_(_UNFINISHED)).order_by(runs.c.id)
        with self._read() as connection:
            return list(connection.scalars(query))

    # Deployed tasks

    def deploy_tasks(self, plans: Sequence[TaskPlan], at: datetime) -> None:
        """Record versions of tasks, all or none; one that is there already becomes the newest again.

        Raises:
            ValueError: a version of that name is there and is something else.
        """
        with self._write() as connection:
            for plan in plans:
                found = connection.scalar(select(tasks.c.plan).where(_is(plan.name, plan.version)))
                if found is not None and found != plan:
                    raise ValueError(
                        f"Task {plan.name!r} has a version {plan.version!r} already, and it is not what is deployed "
                        "now. A version never changes: choose another name for this one."
                    )
                row = {
                    "name": plan.name,
                    "version": plan.version,
                    "environment": plan.name.rpartition(".")[0],
                    "plan": plan,
                    "deployed_at": at,
                }
                connection.execute(upsert(self._engine, tasks, ["name", "version"]), row)

    def get_task(self, name: str, version: str | None = None) -> TaskInfo:
        """A version of a deployed task, or its newest: the one that was deployed last.

        Raises:
            RemoteTaskNotFoundError: there is none; the message says what there is.
        """
        wanted = tasks.c.name == name if version is None else _is(name, version)
        query = select(*_TASK_INFO).where(wanted).order_by(tasks.c.deployed_at.desc()).limit(1)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _no_task(name, version, connection)
        return TaskInfo(**row._mapping)

    def list_tasks(
        self, name: str | None = None, environment: str | None = None, limit: int = 100
    ) -> list[TaskInfo]:
        """The versions of a task, or else the newest of every task, the one that was deployed last first."""
        query = select(*_TASK_INFO).order_by(tasks.c.deployed_at.desc(), tasks.c.name).limit(limit)
        if name is not None:
            query = query.where(tasks.c.name == name)
        else:
            newest = select(tasks.c.name, func.max(tasks.c.deployed_at).label("at")).group_by(tasks.c.name)
            last = newest.subquery()
            query = query.join(last, (last.c.name == tasks.c.name) & (last.c.at == tasks.c.deployed_at))
        if environment is not None:
            query = query.where(tasks.c.environment == environment)
        with self._read() as connection:
            return [TaskInfo(**row._mapping) for row in connection.execute(query)]

    # Actions

    def record(self, events: Sequence[ActionEvent]) -> None:
        """Take in what workers report, in whatever order it arrives."""
        with self._write() as connection:
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
        told = [_row(info, actions) for info in changed.values()]
        connection.execute(upsert(self._engine, actions, ["run", "action"]), told)

    def list_actions(self, run: str) -> list[ActionInfo]:
        """The actions of a run: the root, then the others as they started.

        Raises:
            RunNotFoundError: there is no such run.
        """
        query = select(actions).where(actions.c.run == run)
        # The root first, and last what has not started.
        order = actions.c.parent.is_not(None), actions.c.started_at.is_(None), actions.c.started_at
        with self._read() as connection:
            rows = connection.execute(query.order_by(*order, actions.c.action)).all()
        if not rows:
            self.get_run(run)
        return [ActionInfo(**row._mapping) for row in rows]

    # Apps

    def load_apps(self) -> list[AppRecord]:
        """All apps."""
        with self._read() as connection:
            return [AppRecord(**row._mapping) for row in connection.execute(select(apps))]

    def load_versions(self) -> list[VersionRecord]:
        """All versions of the apps there are, oldest first."""
        query = select(versions).join(apps, apps.c.name == versions.c.app).order_by(versions.c.created_at)
        with self._read() as connection:
            return [VersionRecord(**row._mapping) for row in connection.execute(query)]

    def load_replicas(self) -> list[ReplicaRecord]:
        """All replicas that were ready when last heard of."""
        with self._read() as connection:
            rows = connection.execute(select(replicas.c.info, replicas.c.slot))
            return [ReplicaRecord(**row._mapping) for row in rows]

    def save_app(self, app: AppRecord) -> None:
        """Keep an app as it is now; its target version must be saved before."""
        self._save(apps, "name", vars(app))

    def save_version(self, version: VersionRecord) -> None:
        """Keep a version as it is now."""
        self._save(versions, "id", vars(version))

    def save_replica(self, replica: ReplicaRecord) -> None:
        """Keep a replica as it is now; its version must be saved before."""
        info = replica.info
        values = {"id": info.replica_id, "version": info.version, "info": info, "slot": replica.slot}
        self._save(replicas, "id", values)

    def delete_replica(self, replica_id: str) -> None:
        """Forget a replica; an unknown one is fine."""
        with self._write() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

    def delete_app(self, name: str) -> None:
        """Forget an app, its versions and their replicas; an unknown one is fine."""
        with self._write() as connection:
            connection.execute(delete(versions).where(versions.c.app == name))
            connection.execute(delete(apps).where(apps.c.name == name))

    def _save(self, table: Table, key: str, values: dict[str, Any]) -> None:
        with self._write() as connection:
            connection.execute(upsert(self._engine, table, [key]), values)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, writing(connection).begin():
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection


def _row(info: RunInfo | ActionInfo, table: Table) -> dict[str, Any]:
    """What of it is recorded."""
    return {name: value for name, value in info if name in table.c}


def _is(name: str, version: str) -> ColumnElement[bool]:
    return and_(tasks.c.name == name, tasks.c.version == version)


def _no_task(name: str, version: str | None, connection: Connection) -> RemoteTaskNotFoundError:
    newest = tasks.c.deployed_at.desc()
    versions = connection.scalars(select(tasks.c.version).where(tasks.c.name == name).order_by(newest)).all()
    if versions:
        there = f"The newest are {', '.join(map(repr, versions[:3]))}."
        meant = did_you_mean(version or "", versions)
        return RemoteTaskNotFoundError(f"Task {name!r} has no version {version!r}. {there}{meant}")
    names = connection.scalars(select(tasks.c.name).distinct()).all()
    return RemoteTaskNotFoundError(
        f"There is no deployed task {name!r}.{did_you_mean(name, names)} `flyteray deploy` deploys tasks, "
        "`flyteray get task` lists them."
    )


def _no_run(name: str, connection: Connection) -> RunNotFoundError:
    recent = connection.scalars(select(runs.c.name).order_by(runs.c.id.desc()).limit(1000)).all()
    if near(name, recent):
        hint = did_you_mean(name, recent)
    elif recent:
        hint = f" The newest runs are {', '.join(map(repr, recent[:3]))}."
    else:
        hint = " There are no runs yet."
    return RunNotFoundError(f"There is no run {name!r}.{hint}")
