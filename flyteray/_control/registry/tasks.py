"""The registry's deployed tasks, as clients ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from flyteray._actors.controller import Tasks as TasksDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.tables import runs, tasks
from flyteray._declare.near import did_you_mean
from flyteray._plan.info import TaskInfo
from flyteray._plan.spec import TaskPlan
from flyteray.errors import RemoteTaskNotFoundError

_INFO = [tasks.c.plan, tasks.c.deployed_at]


class TaskRecords(TasksDoor):
    """The versions of deployed tasks; the newest is the one that was deployed last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deploy(self, plans: Sequence[TaskPlan], at: datetime | None = None) -> None:
        """Record versions of tasks, all or none; one that is there already becomes the newest again."""
        at = at or now()
        with self._database.write() as connection:
            for plan in plans:
                found = _find(plan.name, plan.version, connection)
                if found is not None and found.plan != plan:
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
                connection.execute(self._database.upsert(tasks, ["name", "version"]), row)

    async def get(self, name: str, version: str | None = None) -> TaskInfo:
        with self._database.read() as connection:
            found = _find(name, version, connection)
            if found is None:
                raise _no_task(name, version, connection)
        return found

    def newest_version(self, name: str) -> str | None:
        """The newest version of a task; None: it was never deployed."""
        with self._database.read() as connection:
            found = _find(name, None, connection)
        return None if found is None else found.plan.version

    async def listall(
        self, name: str | None = None, environment: str | None = None, limit: int = 100
    ) -> list[TaskInfo]:
        query = select(*_INFO).order_by(tasks.c.deployed_at.desc(), tasks.c.name).limit(limit)
        if name is not None:
            query = query.where(tasks.c.name == name)
        else:
            newest = select(tasks.c.name, func.max(tasks.c.deployed_at).label("at")).group_by(tasks.c.name)
            last = newest.subquery()
            query = query.join(last, (last.c.name == tasks.c.name) & (last.c.at == tasks.c.deployed_at))
        if environment is not None:
            query = query.where(tasks.c.environment == environment)
        with self._database.read() as connection:
            return [TaskInfo(**row._mapping) for row in connection.execute(query)]

    def known(self) -> list[str]:
        """The full names of the tasks that were deployed or run."""
        query = select(runs.c.task).union(select(tasks.c.name))
        with self._database.read() as connection:
            return list(connection.scalars(query))


def _find(name: str, version: str | None, connection: Connection) -> TaskInfo | None:
    query = select(*_INFO).where(tasks.c.name == name).order_by(tasks.c.deployed_at.desc()).limit(1)
    if version is not None:
        query = query.where(tasks.c.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else TaskInfo(**row._mapping)


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
