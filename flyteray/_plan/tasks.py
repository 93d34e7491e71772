"""A task as the cluster sees it."""

from __future__ import annotations

from typing import Any

from flyteray._declare.task import Task
from flyteray._plan.resources import environment_spec
from flyteray._plan.retry import retry_spec
from flyteray._plan.spec import CodeRef, TaskSpec


def task_spec(task: Task[..., Any], code: CodeRef) -> TaskSpec:
    """The plan of a task whose code is found at ``code``."""
    return TaskSpec(
        name=task.name,
        code=code,
        environment=environment_spec(task, default_cpus=1.0),
        retry=retry_spec(task),
    )
