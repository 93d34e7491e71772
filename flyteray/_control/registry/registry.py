"""The registry: the record of runs, actions, deployed tasks, apps and keys, which survives a crash."""

from __future__ import annotations

from flyteray._control.registry.actions import ActionRecords
from flyteray._control.registry.apps import AppRecords
from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.tasks import TaskRecords
from flyteray._plan.spec import OutputRef


class Registry:
    """The record, by noun, at the URL of a :class:`Database`, whose errors it raises.

    Every method is one transaction; times are aware datetimes.
    """

    def __init__(self, url: str) -> None:
        self.database = database = Database(url)
        self.runs = RunRecords(database)
        self.actions = ActionRecords(database, self.runs)
        self.tasks = TaskRecords(database)
        self.apps = AppRecords(database)
        self.keys = Keys(database)

    def newest_output(self, ref: OutputRef) -> str | None:
        """The newest run whose output ``ref`` may mean, of the task that it names; None where there is none."""
        task, version = ref.task_name or "", ref.task_version
        if ref.latest_version and (version := self.tasks.newest_version(task)) is None:
            return None
        return self.runs.newest_success(task, version)

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()
