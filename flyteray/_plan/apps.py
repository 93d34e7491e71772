"""An app environment as the cluster sees it, and the order in which dependent apps come up."""

from __future__ import annotations

from dataclasses import replace

from flyteray._declare.environment import Environment
from flyteray._plan.resources import environment_spec
from flyteray._plan.spec import AppSpec, CodeRef, LinkSpec, OutputRef, ParameterSpec
from flyteray.app.context import ctx
from flyteray.app.environment import AppEnvironment
from flyteray.app.parameters import AppEndpoint, Parameter, RunOutput
from flyteray.app.routing import Subdomain, host_name
from flyteray.errors import ParameterMaterializationError
from flyteray.io import Dir, File


def app_spec(env: AppEnvironment, code: CodeRef) -> AppSpec:
    """The plan of an app whose environment is found at ``code``; outputs of tasks are not pinned yet.

    Raises:
        ParameterMaterializationError: a parameter was declared without a value.
    """
    smallest, _ = env.scaling.get_replicas()
    return AppSpec(
        name=env.name,
        kind=env.kind,
        code=code,
        environment=environment_spec(env, default_cpus=0.0),
        replicas=max(1, smallest),
        port=env.declared_port.port,
        parameters=tuple(_parameter(env.name, parameter) for parameter in env.parameters),
        command=tuple(env.words()) if env.kind == "command" else (),
        sticky=env._sticky,
        request_timeout_s=env.timeouts.request_s(),
        subdomain=_subdomain(env),
        host=env.domain.custom_domain if env.domain else None,
        links=tuple(
            LinkSpec(title=link.title, path=link.path, is_relative=link.is_relative) for link in env.links
        ),
    )


def in_order(env: AppEnvironment) -> list[AppEnvironment]:
    """The app and the apps it depends on, directly or not, each after those it needs.

    Raises:
        ValueError: they depend on one another in a circle, or two of them share a name.
    """
    ordered: dict[str, AppEnvironment] = {}
    path: list[str] = []

    def visit(current: Environment) -> None:
        if current.name in path:
            circle = " -> ".join([*path[path.index(current.name) :], current.name])
            raise ValueError(f"These environments depend on one another in a circle: {circle}.")
        path.append(current.name)
        for needed in current.depends_on:
            visit(needed)
        path.pop()
        if isinstance(current, AppEnvironment) and ordered.setdefault(current.name, current) is not current:
            raise ValueError(f"Two different app environments are named {current.name!r}: rename one.")

    visit(env)
    return list(ordered.values())


def _subdomain(env: AppEnvironment) -> str | None:
    wanted = env.domain.subdomain if env.domain else None
    if not isinstance(wanted, Subdomain):
        return wanted
    here = ctx()
    given = env.env_vars or {}
    context = replace(
        here,
        project=given.get("FLYTE_INTERNAL_EXECUTION_PROJECT", here.project),
        domain=given.get("FLYTE_INTERNAL_EXECUTION_DOMAIN", here.domain),
    )
    return host_name(f"The subdomain of app {env.name!r},", wanted.resolve(env, context))


def _parameter(app: str, parameter: Parameter) -> ParameterSpec:
    value = parameter.value
    if value is None:
        raise ParameterMaterializationError(
            f"Parameter {parameter.name!r} of app {app!r} has no value: give it one in Parameter(value=...)."
        )
    output = None
    if isinstance(value, RunOutput):
        output = OutputRef(run_name=value.run_name, task_name=value.task_name, getter=value.getter)
        text = None
    elif isinstance(value, (File, Dir)):
        text = value.path
    elif isinstance(value, AppEndpoint):
        text = value.app_name
    else:
        text = value
    return ParameterSpec(
        name=parameter.name,
        kind=parameter.kind,
        value=text,
        output=output,
        env_var=parameter.env_var,
        download=parameter.download,
        mount=parameter.mount,
        ignore_patterns=tuple(parameter.ignore_patterns),
    )
