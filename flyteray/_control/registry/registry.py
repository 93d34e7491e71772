"""The durable record of runs, actions, deployed tasks, apps and keys, in SQLite or PostgreSQL."""

from __future__ import annotations

from flyteray._control.registry.actions import ActionRecords
from flyteray._control.registry.apps import AppRecords
from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.tasks import TaskRecords


class Registry:
    """The record that survives a crash, by noun. Every method is one transaction; times are aware datetimes.

    Args:
        url: As of :class:`Database`, whose errors it raises.
    """

    def __init__(self, url: str) -> None:
        self.database = database = Database(url)
        self.runs = RunRecords(database)
        self.actions = ActionRecords(database, self.runs)
        self.tasks = TaskRecords(database)
        self.apps = AppRecords(database)
        self.keys = Keys(database)

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()
