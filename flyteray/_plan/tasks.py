"""A task as the cluster sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flyteray._declare.environment import check_env_vars
from flyteray._declare.resources import Resources
from flyteray._declare.retry import RetryStrategy
from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray._declare.task import Task
from flyteray._plan.inputs import type_name
from flyteray._plan.resources import environment_spec
from flyteray._plan.retry import retry_spec
from flyteray._plan.secrets import secret_specs
from flyteray._plan.spec import CodeRef, InputSpec, TaskPlan, TaskSpec

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in a repr: another one in each process
_FIXED = ("name", "image", "docs", "interface")


def task_spec(task: Task[..., Any], code: CodeRef, version: str | None = None) -> TaskSpec:
    """The plan of a task whose code is found at ``code``; ``version`` where it was deployed."""
    return TaskSpec(
        name=task.name,
        code=code,
        environment=environment_spec(task, default_cpus=1.0),
        retry=retry_spec(task.retries),
        version=version,
    )


def task_plan(task: Task[..., Any], code: CodeRef) -> TaskPlan:
    """What is recorded of a task when it is deployed, but for its version."""
    return TaskPlan(
        spec=task_spec(task, code),
        inputs=tuple(
            InputSpec(
                name=name,
                type=type_name(declared.type),
                default=None if declared.required else _ADDRESS.sub("", repr(declared.default)),
            )
            for name, declared in task.interface.inputs.items()
        ),
        outputs={name: type_name(kind) for name, kind in task.interface.outputs.items()},
        docs=task.docs,
    )


def overridden(spec: TaskSpec, changes: dict[str, Any]) -> TaskSpec:
    """A deployed task with other ``resources``, ``env_vars``, ``secrets`` (both in place of its own) or ``retries``.

    Raises:
        ValueError: ``name``, ``image``, ``docs`` and ``interface`` cannot be overridden.
        TypeError: No such setting, or a value of a wrong type.
    """
    for key in changes:
        if key in _FIXED:
            raise ValueError(f"{key.capitalize()} cannot be overridden.")
        if key not in _Changed.__dataclass_fields__:
            known = ", ".join(_Changed.__dataclass_fields__)
            raise TypeError(f"override() of a deployed task knows {known}, not {key!r}.")
    given = _Changed(**{key: value for key, value in changes.items() if value is not None})
    if not isinstance(given.resources or Resources(), Resources):
        raise TypeError(f"override(): resources must be a Resources, got {given.resources!r}.")
    environment = spec.environment
    if given.resources is not None:
        kept = {"env_vars": environment.env_vars, "secrets": environment.secrets, "image": environment.image}
        environment = environment_spec(given, default_cpus=1.0).model_copy(update=kept)
    if given.env_vars is not None:
        check_env_vars("override()", given.env_vars)
        environment = environment.model_copy(update={"env_vars": dict(given.env_vars)})
    if given.secrets is not None:
        secrets = secret_specs(as_secrets("override()", given.secrets))
        environment = environment.model_copy(update={"secrets": secrets})
    retry = spec.retry if given.retries is None else retry_spec(RetryStrategy.of(given.retries))
    return spec.model_copy(update={"environment": environment, "retry": retry})


@dataclass(frozen=True)
class _Changed:
    resources: Resources | None = None
    env_vars: dict[str, str] | None = None
    retries: int | RetryStrategy | None = None
    secrets: SecretRequest | None = None

    @property
    def name(self) -> str:
        return ""

    @property
    def image(self) -> None:
        return None

    def secret_list(self) -> list[Secret]:
        return []
