"""A task becomes the spec that the cluster knows it by."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from flyteray._declare.options.cache import cache_of
from flyteray._declare.options.documentation import Link
from flyteray._declare.options.reuse import ReusePolicy
from flyteray._declare.options.task import Overrides, checked_overrides
from flyteray._declare.secret import as_secrets
from flyteray._declare.tasks.retry import RetryStrategy
from flyteray._declare.tasks.task import Task
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan.actions.limits import timeout_spec
from flyteray._plan.actions.retry import retry_spec
from flyteray._plan.actions.reuse import reuse_spec
from flyteray._plan.cache.call import cache_spec, overridden_cache
from flyteray._plan.credentials import secret_specs
from flyteray._plan.dependencies import declared_in
from flyteray._plan.resources import environment_spec, hardware
from flyteray._plan.spec import CodeRef, EnvironmentSpec, InputSpec, TaskPlan, TaskSpec
from flyteray._plan.values.text import safe_repr
from flyteray._plan.values.type_hints import type_name

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in a repr: another one in each process
_DEFAULT_CPUS = 1.0
_OVERRIDABLE = (  # of a task whose code is not here
    *("resources", "env_vars", "retries", "secrets", "short_name", "cache", "timeout"),
    *("max_inline_io_bytes", "service_account", "queue", "interruptible", "pod_template"),
    *("reusable", "produces_artifacts", "links", "entrypoint"),
)


def declared_tasks() -> list[str]:
    """The full names of the tasks of all environments that modules of this process have as globals."""
    found = declared_in(list(sys.modules))
    return sorted({name for env in found if isinstance(env, TaskEnvironment) for name in env.tasks})


def task_spec(task: Task[..., Any], code: CodeRef, version: str | None = None) -> TaskSpec:
    """The plan of a task whose code is found at ``code``; ``version`` where it was deployed."""
    return TaskSpec(
        name=task.name,
        code=code,
        environment=environment_spec(task, default_cpus=_DEFAULT_CPUS),
        retry=retry_spec(task.retries),
        version=version,
        cache=cache_spec(task),
        timeout=timeout_spec(task.timeout),
        reuse=reuse_spec(task.reusable),
        produces_artifacts=task.produces_artifacts,
    )


def with_env_vars(spec: TaskSpec, env_vars: Mapping[str, str]) -> TaskSpec:
    """A task with further environment variables, which go before its own."""
    if not env_vars:
        return spec
    environment = spec.environment.model_copy(update={"env_vars": spec.environment.env_vars | dict(env_vars)})
    return spec.model_copy(update={"environment": environment})


def task_plan(task: Task[..., Any], code: CodeRef) -> TaskPlan:
    """What is recorded of a task when it is deployed, but for its version."""
    return TaskPlan(
        spec=task_spec(task, code),
        inputs=tuple(
            InputSpec(
                name=name,
                type=type_name(declared.type),
                default=None if declared.required else _ADDRESS.sub("", safe_repr(declared.default)),
            )
            for name, declared in task.interface.inputs.items()
        ),
        outputs={name: type_name(kind) for name, kind in task.interface.outputs.items()},
        docs=str(task.docs),
        entrypoint=task.entrypoint,
    )


class DeployedOverrides(NamedTuple):
    """The plan of a deployed task with other settings, and the links that it has in place of its own."""

    plan: TaskPlan
    links: tuple[Link, ...]


def overridden(plan: TaskPlan, changes: Mapping[str, Any]) -> DeployedOverrides:
    """A deployed task with other settings, ``env_vars`` and ``secrets`` in place of its own.

    ValueError for ``name``, ``image``, ``docs`` and ``interface``, and for what warm processes are started with;
    TypeError where there is no such setting, or its value is of a wrong type.
    """
    given = checked_overrides(changes, _OVERRIDABLE, plan.spec.reuse)
    entrypoint = given.get("entrypoint", plan.entrypoint)
    changed = plan.model_copy(update={"spec": _overridden(plan.spec, given), "entrypoint": entrypoint})
    return DeployedOverrides(changed, cast("tuple[Link, ...]", given.get("links", ())))


def _overridden(spec: TaskSpec, given: Overrides) -> TaskSpec:
    environment = dict(spec.environment)
    if "resources" in given:
        environment |= hardware(given["resources"], _DEFAULT_CPUS)
    if "env_vars" in given:
        environment["env_vars"] = given["env_vars"]
    if "secrets" in given:
        environment["secrets"] = secret_specs(as_secrets("override()", given["secrets"]))
    retry = retry_spec(RetryStrategy.of(given["retries"])) if "retries" in given else spec.retry
    timeout = timeout_spec(given["timeout"] or 0) if "timeout" in given else spec.timeout
    asked = given.get("cache")
    cache = spec.cache if asked is None else overridden_cache(spec.cache, cache_of(asked))
    return spec.model_copy(
        update={
            "environment": EnvironmentSpec(**environment),
            "retry": retry,
            "timeout": timeout,
            "cache": cache,
            "reuse": reuse_spec(cast("ReusePolicy | None", given["reusable"]))
            if "reusable" in given
            else spec.reuse,
            "produces_artifacts": given.get("produces_artifacts", spec.produces_artifacts),
        }
    )
