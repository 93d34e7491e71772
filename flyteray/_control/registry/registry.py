"""The registry: the record of runs, actions, conditions, tasks, triggers, apps and keys, which survives a crash."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from sqlalchemy import insert, select

from flyteray._control.registry.actions import ActionRecords
from flyteray._control.registry.apps import AppRecords
from flyteray._control.registry.conditions import ConditionRecords
from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.notices import NoticeRecords
from flyteray._control.registry.retention import RetentionRecords
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.store.lease import LEASE_S, Holder, Lease
from flyteray._control.registry.tables import identity
from flyteray._control.registry.tasks import TaskRecords
from flyteray._control.registry.triggers.artifacts import ArtifactRecords
from flyteray._control.registry.triggers.triggers import TriggerRecords
from flyteray._plan.spec import OutputRef


class Registry:
    """The record, by noun, at the URL of a :class:`Database`, whose errors it raises.

    Every method is one transaction; times are aware datetimes.
    """

    def __init__(self, url: str) -> None:
        self.database = database = Database(url)
        self.notices = NoticeRecords(database)
        self.runs = RunRecords(database, self.notices)
        self.actions = ActionRecords(database, self.runs)
        self.conditions = ConditionRecords(database)
        self.tasks = TaskRecords(database)
        self.artifacts = ArtifactRecords(database)
        self.triggers = TriggerRecords(database, self.artifacts.newest)
        self.apps = AppRecords(database)
        self.retention = RetentionRecords(database, self.runs, self.apps)
        self.keys = Keys(database)
        self._lease: Lease | None = None

    def take(self, holder: Holder, lost: Callable[[str], None], lease_s: float = LEASE_S) -> None:
        """Be the one who writes, for as long as nobody else takes the :class:`Lease`, as it says."""
        self._lease = Lease(self.database, holder, lost, lease_s)

    def identity(self) -> str:
        """The name that this registry has got when it was made, and no other one has."""
        with self.database.write() as connection:
            found: str | None = connection.scalar(select(identity.c.name))
            if found is None:
                found = uuid.uuid4().hex
                connection.execute(insert(identity).values(id=1, name=found))
            return found

    def newest_output(self, ref: OutputRef) -> str | None:
        """The newest run whose output ``ref`` may mean, of the task that it names; None where there is none."""
        task, version = ref.task_name or "", ref.task_version
        if ref.latest_version and (version := self.tasks.newest_version(task)) is None:
            return None
        return self.runs.newest_success(task, version)

    def close(self) -> None:
        """Give the lease, where it was taken, and all connections back."""
        if self._lease is not None:
            self._lease.release()
        self.database.close()
