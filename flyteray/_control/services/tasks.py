"""What is asked about deployed tasks."""

from __future__ import annotations

from datetime import datetime, timezone

from flyteray._actors.controller import Tasks
from flyteray._control.registry.registry import Registry
from flyteray._plan.info import TaskInfo
from flyteray._plan.spec import TaskPlan


class TaskService(Tasks):
    """The deployed tasks of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def deploy(self, plans: list[TaskPlan]) -> None:
        self._registry.deploy_tasks(plans, datetime.now(timezone.utc))

    async def get(self, name: str, version: str | None) -> TaskInfo:
        return self._registry.get_task(name, version)

    async def listall(self, name: str | None, environment: str | None, limit: int) -> list[TaskInfo]:
        return self._registry.list_tasks(name, environment, limit)
