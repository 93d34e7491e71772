"""The graph of a composition: the deployments that a Ray Serve application is bound of.

Nothing of it travels: each process runs the module that binds it, and takes what is its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pydantic

from flyteray._serve.compositions.internals import (
    Application,
    Deployment,
    build_app,
    deployment_to_schema,
    make_local_deployment_handle,
    uses_multiplexing,
)

_APP = "app"  # where nothing is deployed
_KNOWN_ELSEWHERE = {"name", "version", "_init_args", "_init_kwargs"}


@dataclass(frozen=True)
class Graph:
    """What is said of a composition.

    Attributes:
        ingress: The options of the deployment that requests come to, as its author has set them.
        parts: The other deployments, as the fields of a :class:`PartSpec`.
    """

    ingress: dict[str, Any]
    parts: tuple[dict[str, Any], ...]


def describe(owner: str, application: object) -> Graph:
    """Look at the deployments of an application; ``owner`` says in errors whose it is.

    Raises:
        TypeError: It is no application.
        ValueError: A deployment has an option that no other process can be told of.
    """
    if isinstance(application, Deployment):
        raise TypeError(
            f"{owner}: app must be an application of Ray Serve's, got the deployment {application.name!r}: bind its "
            f"arguments, app={application.name}.bind(...)."
        )
    if not isinstance(application, Application):
        raise TypeError(
            f"{owner}: app must be an application of Ray Serve's, which Deployment.bind() gives, got {application!r}."
        )
    if application._ingress_request_router is not None:
        raise ValueError(
            f"{owner}: its ingress_request_router is for Serve's own HAProxy mode: leave it out."
        )
    *others, ingress = deployments(application, _APP, lambda deployment, _: deployment.name)
    return Graph(
        _options(owner, ingress),
        tuple(
            {"options": _options(owner, each), "multiplexed": uses_multiplexing(each.func_or_class)}
            for each in others
        ),
    )


def deployments(application: Application, name: str, make_handle: Any = None) -> list[Deployment]:
    """The deployments of an application that is deployed as ``name``, with handles in their arguments.

    The one that requests come to is the last.
    """
    built = build_app(application, name=name, make_deployment_handle=make_handle)
    built.validate_single_fastapi_ingress()
    return list(built.deployments)


def ingress(application: Application, name: str, *, local: bool) -> Deployment:
    """The deployment that requests come to. In local mode those that it calls are started in this process."""
    reached = deployments(application, name)[-1]
    if not local:
        return reached

    def make(deployment: Deployment, app_name: str) -> Any:
        # For the one that is reached there is no handle, which would start it a second time.
        return None if deployment.name == reached.name else make_local_deployment_handle(deployment, app_name)

    return deployments(application, name, make)[-1]


def part(application: Application, name: str, deployment: str) -> Deployment:
    """One of the other deployments.

    Raises:
        LookupError: There is none of that name: the module binds another application here than where it was served.
    """
    found = {each.name: each for each in deployments(application, name)}
    if deployment not in found:
        raise LookupError(
            f"The application has no deployment {deployment!r} here, though it had one where it was served: its "
            f"module must bind the same wherever it runs. It has {', '.join(map(repr, found))}."
        )
    return found[deployment]


def _options(owner: str, deployment: Deployment) -> dict[str, Any]:
    where = f"{owner}: its deployment {deployment.name!r}"
    try:
        schema = deployment_to_schema(deployment)
        options: dict[str, Any] = json.loads(schema.model_dump_json(exclude_unset=True))
    except (pydantic.ValidationError, pydantic.PydanticUserError, ValueError, TypeError) as error:
        raise ValueError(
            f"{where} has an option that is no plain value, such as a class or function of a policy, and only plain "
            f"values reach the cluster's controller: {error}"
        ) from error
    known = set(type(schema).model_fields) | _KNOWN_ELSEWHERE
    if untold := sorted(deployment._deployment_config.user_configured_option_names - known):
        raise ValueError(
            f"{where} sets {', '.join(untold)}, which a ServeAppEnvironment can't carry: leave it out."
        )
    if code := [name for name, path in _code(options).items() if not path.startswith("ray.")]:
        raise ValueError(
            f"{where} sets {', '.join(code)} to code of its own, which would run in the cluster's controller, where "
            "there is no user's code: leave it out."
        )
    environment = (options.get("ray_actor_options") or {}).get("runtime_env") or {}
    if beside := sorted(set(environment) - {"env_vars"}):
        raise ValueError(
            f"{where} sets {', '.join(beside)} in its runtime_env. All of them have the code and the packages of the "
            "environment: say image=... there. Only env_vars can be a deployment's own."
        )
    return {name: value for name, value in options.items() if value is not None}


def _code(options: dict[str, Any]) -> dict[str, str]:
    """The options that name classes and functions which run outside replicas, and where these are found."""
    scaling, router = options.get("autoscaling_config") or {}, options.get("request_router_config") or {}
    found = {
        "the policy of its autoscaling_config": (scaling.get("policy") or {}).get("policy_function"),
        "the class of its request_router_config": router.get("request_router_class"),
        "deployment_actors": "its own" if options.get("deployment_actors") else None,
    }
    return {name: path for name, path in found.items() if path}
