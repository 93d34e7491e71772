"""Environments become what is deployed of them: versions of tasks, versions of apps, and the code of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flyteray._declare.environment import Environment
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan import apps
from flyteray._plan.bundle import code
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.bundle.shipping import Shipping
from flyteray._plan.dependencies import dependencies_first
from flyteray._plan.spec import AppSpec, TaskPlan
from flyteray._plan.tasks import task_plan
from flyteray.app.environment import AppEnvironment


@dataclass(frozen=True)
class DeploymentPlan:
    """What one deployment consists of.

    Attributes:
        version: Of its tasks; of its apps as well where the user named it.
        envs: The environments by name, those that are needed by others first.
        tasks: The tasks by environment.
        apps: The apps by environment, in the order in which they are brought up.
        bundles: The code of all, by digest.
    """

    version: str
    envs: Mapping[str, Environment]
    tasks: Mapping[str, Sequence[TaskPlan]]
    apps: Mapping[str, AppSpec]
    bundles: Mapping[str, Bundle]


def groups(envs: Iterable[Environment]) -> list[dict[str, Environment]]:
    """Environments with all that they depend on; those that share something are one group.

    TypeError where one of them is no environment, ValueError where two different ones have one name or apps depend on
    one another in a circle.
    """
    merged: list[dict[str, Environment]] = []
    for env in envs:
        if not isinstance(env, Environment):
            raise TypeError(
                f"flyteray.deploy deploys environments, not {env!r}. Give it the environment of a task; to run a "
                "task, use flyteray.run."
            )
        if isinstance(env, AppEnvironment):
            apps.in_order(env)  # refuses circles
        found: dict[str, Environment] = {}
        for each in dependencies_first(env):
            _check_same(found.setdefault(each.name, each), each)
        for group in [group for group in merged if group.keys() & found.keys()]:
            for name in group.keys() & found.keys():
                _check_same(group[name], found[name])
            merged.remove(group)
            found = {**group, **found}
        merged.append(found)
    return merged


def plan(
    envs: Mapping[str, Environment],
    version: str | None,
    shipping: Shipping,
    variables: Mapping[str, str] | None = None,
) -> DeploymentPlan:
    """What is deployed of a group of environments; CodeBundleError where code can't be shipped.

    Args:
        envs: From :func:`groups`.
        version: A name for it; None: a hash of what is deployed.
        shipping: How code travels.
        variables: Environment variables of apps beside those that they declare.
    """
    bundles: dict[str, Bundle] = {}
    tasks: dict[str, list[TaskPlan]] = {}
    planned: dict[str, AppSpec] = {}
    for env in envs.values():
        if isinstance(env, TaskEnvironment):
            tasks[env.name] = []
            for task in env.tasks.values():
                ref, bundle = code.ship(task, shipping)
                bundles[ref.bundle] = bundle
                tasks[env.name].append(task_plan(task, ref))
        elif isinstance(env, AppEnvironment):
            ref, bundle = code.ship(env, shipping)
            bundles[ref.bundle] = bundle
            spec = apps.app_spec(env, ref, variables=variables)
            planned[env.name] = spec.model_copy(update={"version": version})
    digests = [each.digest() for plans in tasks.values() for each in plans]
    digests += [spec.digest() for spec in planned.values()]
    named = version or hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()[:12]
    return DeploymentPlan(
        version=named,
        envs=envs,
        tasks={name: [_versioned(each, named) for each in plans] for name, plans in tasks.items()},
        apps=planned,
        bundles=bundles,
    )


def _check_same(one: Environment, other: Environment) -> None:
    if one is not other:
        raise ValueError(f"Two different environments are named {one.name!r}: rename one.")


def _versioned(plan: TaskPlan, version: str) -> TaskPlan:
    return plan.model_copy(update={"spec": plan.spec.model_copy(update={"version": version})})
