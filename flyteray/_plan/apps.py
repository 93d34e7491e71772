"""An app environment becomes the spec of an app, after those of the apps that it depends on."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from flyteray._declare.context import ctx as task_context
from flyteray._declare.facts import SerializationContext
from flyteray._declare.near import did_you_mean
from flyteray._plan import spares
from flyteray._plan.dependencies import dependencies_first
from flyteray._plan.resources import environment_spec
from flyteray._plan.spec import (
    AppSpec,
    CodeRef,
    LimitsSpec,
    LinkSpec,
    OutputRef,
    ParameterSpec,
    PartSpec,
    ScalingSpec,
    WindowSpec,
)
from flyteray._settings import DOMAIN, ORG, PROJECT
from flyteray.app.environment import AppEnvironment
from flyteray.app.limits import Limits
from flyteray.app.parameters import Parameter
from flyteray.app.routing import Subdomain, host_name
from flyteray.app.scaling import Scaling, Window
from flyteray.app.sources import AppEndpoint, RunOutput
from flyteray.io import Dir, File


def app_spec(
    env: AppEnvironment,
    code: CodeRef,
    parameter_values: Mapping[str, Any] | None = None,
    *,
    takes_objects: bool = False,
    variables: Mapping[str, str] | None = None,
) -> AppSpec:
    """The plan of an app; outputs of tasks are not pinned yet.

    Args:
        env: The app.
        code: Where its environment is found.
        parameter_values: Values by the names of parameters, in place of those declared.
        takes_objects: Whether :func:`objects` brings it the Python values that it is given as they are.
        variables: Environment variables beside those that it declares, which win.

    Raises:
        TypeError: a value of a type that no parameter has, or a Python value where none can be given.
        ValueError: a value for a parameter that the app does not have, or no value for one that it has, or a port of
            HTTP/2 where that can't be served, or with a limit that can't be kept there, or spare processes where there
            can't be any.
    """
    kind = env.kind  # first, so that an environment that is not for serving says why
    protocol = _protocol(env)
    if variables:
        env = copy.copy(env)
        env.env_vars = {**variables, **(env.env_vars or {})}
    spec = AppSpec(
        name=env.name,
        kind=kind,
        code=code,
        environment=environment_spec(env, default_cpus=0.0).model_copy(update=env._hardware),
        replicas=max(1, env.scaling.get_replicas()[0]),
        scaling=_scaling(env.scaling),
        spare=env.scaling.spare,
        port=env.declared_port.port,
        protocol=protocol,
        parameters=tuple(_parameters(env, parameter_values or {}, takes_objects)),
        command=tuple(env.words()) if kind == "command" else (),
        parts=tuple(PartSpec(**each) for each in env._parts),
        hooks=any((env._on_startup, env._on_shutdown, env._on_update)),
        requires_auth=env.requires_auth,
        reading=env._roles[0],
        acting=env._roles[1],
        forward_key=env.forward_key,
        allowed_origins=tuple(env.allowed_origins),
        limits=_limits(env.limits),
        sticky=env._sticky,
        request_timeout_s=env.timeouts.request_s(),
        drain_s=env.timeouts.drain_s(),
        subdomain=_subdomain(env),
        host=env.domain.custom_domain if env.domain else None,
        links=tuple(
            LinkSpec(title=each.title, path=each.path, is_relative=each.is_relative) for each in env.links
        ),
    )
    spares.refuse(f"App {env.name!r}", spec)
    return spec


def in_order(env: AppEnvironment) -> list[AppEnvironment]:
    """The app and the apps it depends on, directly or not, each after those it needs.

    ValueError where they depend on one another in a circle, or two of them share a name.
    """
    ordered: dict[str, AppEnvironment] = {}
    for each in dependencies_first(env, circles=False):
        if isinstance(each, AppEnvironment) and ordered.setdefault(each.name, each) is not each:
            raise ValueError(f"Two different app environments are named {each.name!r}: rename one.")
    return list(ordered.values())


def _protocol(env: AppEnvironment) -> Literal["http1", "h2c"]:
    if env.declared_port.name != "h2c":
        return "http1"
    if env.kind not in ("function", "command"):
        raise ValueError(
            f"App {env.name!r} is served by flyteray's own server, over HTTP/1.1: its port can't be \"h2c\". "
            "Leave the name out; clients may speak HTTP/2 to the ingress all the same. A gRPC server is a function "
            "(@env.server) or a program (command)."
        )
    if env.limits.body is not None:
        raise ValueError(
            f'App {env.name!r} has a port of name "h2c", where bodies are streams without an end, so limits.body '
            "can't be kept. gRPC servers limit each message: grpc.max_receive_message_length, 4 MiB by default."
        )
    return "h2c"


def _limits(declared: Limits) -> LimitsSpec | None:
    if declared == Limits():
        return None
    concurrency = declared.concurrency or 0
    usual = max(1, concurrency // 2) if concurrency else 0
    return LimitsSpec(
        concurrency=concurrency,
        queue=usual if declared.queue is None else declared.queue,
        rate=declared.requests_per_second or 0,
        body=declared.body or 0,
        headers=declared.headers or 0,
    )


def _scaling(declared: Scaling) -> ScalingSpec | None:
    least, most = declared.get_replicas()
    most = max(1, most)
    if most == least and not declared.schedule:
        return None
    share, policy = declared.share(), declared.policy
    by: Literal["concurrency", "request_rate", "policy"] = "policy"
    if policy is None:
        by = "request_rate" if isinstance(share, Scaling.RequestRate) else "concurrency"
    return ScalingSpec(
        most=most,
        by=by,
        share=share.val,
        policy=None if policy is None else getattr(policy, "__qualname__", type(policy).__qualname__),
        scaledown_after_s=declared.scaledown_after_s(),
        sleeps_after_s=declared.sleeps_after_s(),
        windows=tuple(_window(declared, each) for each in declared.schedule),
    )


def _window(declared: Scaling, window: Window) -> WindowSpec:
    least, most = window.get_replicas()
    return WindowSpec(
        cron=window.begins.fields,
        timezone=window.begins.timezone,
        lasts_s=window.lasts.total_seconds(),
        least=max(1, least),
        most=max(1, most),
        sleeps_after_s=declared.sleeps_after_s(least),
    )


def _subdomain(env: AppEnvironment) -> str | None:
    wanted = env.domain.subdomain if env.domain else None
    if not isinstance(wanted, Subdomain):
        return wanted
    known = {**os.environ, **(env.env_vars or {})}
    project, domain, org = known.get(PROJECT, ""), known.get(DOMAIN, ""), known.get(ORG)
    context = SerializationContext(project=project, domain=domain, org=org)
    return host_name(f"The subdomain of app {env.name!r},", wanted.resolve(env, context))


def objects(env: AppEnvironment, values: Mapping[str, Any]) -> dict[str, Any]:
    """The Python values that an app is given as they are, by the names of its parameters of type "object".

    ``values`` are by the names of parameters, in place of those declared.
    """
    given = {each.name: (each, values.get(each.name, each.value)) for each in env.parameters}
    return {name: value for name, (parameter, value) in given.items() if _is_object(parameter, value)}


def _is_object(parameter: Parameter, value: object) -> bool:
    if parameter.kind != "object" or value is None or isinstance(value, (RunOutput, AppEndpoint)):
        return False
    return parameter.type == "object" or not isinstance(value, (str, File, Dir))


def _parameters(
    env: AppEnvironment, values: Mapping[str, Any], takes_objects: bool
) -> Iterator[ParameterSpec]:
    given = objects(env, values)
    if given and not takes_objects:
        name, value = next(iter(given.items()))
        raise TypeError(
            f"Parameter {name!r} of app {env.name!r} is given a {type(value).__qualname__}, and any Python value can "
            'be given in local mode only. On a cluster it is the output of a task: RunOutput(type="object", '
            'task_name="...").'
        )
    rest = {name: value for name, value in values.items() if name not in given}
    for parameter in _given(env, rest):
        if parameter.name in given:
            yield ParameterSpec(name=parameter.name, kind="object", env_var=parameter.env_var)
        else:
            yield _parameter(env.name, parameter)


def _given(env: AppEnvironment, values: Mapping[str, Any]) -> list[Parameter]:
    """The parameters of an app, with the values that are given instead of those declared."""
    there = [parameter.name for parameter in env.parameters]
    if unknown := [name for name in values if name not in there]:
        raise ValueError(
            f"App {env.name!r} has no parameter {', '.join(map(repr, unknown))}. "
            f"It has: {', '.join(map(repr, there)) or 'none'}.{did_you_mean(unknown[0], there)}"
        )
    return [
        replace(parameter, value=values[parameter.name]) if parameter.name in values else parameter
        for parameter in env.parameters
    ]


def _parameter(app: str, parameter: Parameter) -> ParameterSpec:
    value = parameter.value
    if value is None:
        raise ValueError(
            f"Parameter {parameter.name!r} of app {app!r} has no value: give it one in Parameter(value=...), or when "
            f"it is served: with_servecontext(parameter_values={{{app!r}: {{{parameter.name!r}: ...}}}})."
        )
    if parameter.mount is not None and parameter.kind not in ("file", "directory"):
        raise ValueError(
            f"Parameter {parameter.name!r} of app {app!r} has a mount, {parameter.mount!r}, but is of type "
            f"{parameter.kind!r}: only files and directories are put somewhere. Where the value is the path of one, "
            'say type="file" or type="directory".'
        )
    output = None
    if isinstance(value, RunOutput):
        output, value = output_ref(f"Parameter {parameter.name!r}", value), None
    elif isinstance(value, (File, Dir)):
        value = value.path
    elif isinstance(value, AppEndpoint):
        value = value.app_name
    return ParameterSpec(
        name=parameter.name,
        kind=parameter.kind,
        value=value,
        output=output,
        env_var=parameter.env_var,
        download=parameter.download,
        mount=parameter.mount,
        ignore_patterns=tuple(parameter.ignore_patterns),
    )


def output_ref(owner: str, output: RunOutput) -> OutputRef:
    """Which output a declaration means; ``owner`` says in errors whose it is.

    ValueError where it is the "current" version of a task and none runs, or names neither a run nor a task.
    """
    if output.run_name is None and output.task_name is None:
        raise ValueError(f"{owner}: RunOutput needs run_name or task_name.")
    if output.run_name is not None:
        return OutputRef(run_name=output.run_name, getter=output.getter)
    version = output.task_version
    if output.task_auto_version == "current":
        version = task_context().version
        if version is None:
            raise ValueError(
                f'{owner}: task_auto_version="current" is the version of the task that serves the app, '
                'and no deployed task does. Use "latest", or name one with task_version.'
            )
    return OutputRef(
        task_name=output.task_name,
        task_version=version,
        latest_version=output.task_auto_version == "latest",
        getter=output.getter,
        follow=output.follow,
    )
