"""The parts of a composition become deployments of Serve beside the replicas that requests come to."""

from __future__ import annotations

from typing import Any

from ray.serve.schema import DeploymentSchema

from flyteray._plan.spec import AppSpec, PartSpec
from flyteray._serve.compositions.internals import Deployment, schema_to_deployment
from flyteray._serve.compositions.part import MultiplexedPart, Part, variables


def deployments(spec: AppSpec, version: str, runtime_env: dict[str, Any]) -> list[Deployment]:
    """The deployments of the parts of an app version, as their author has configured them.

    Each of their processes has ``runtime_env``, with its own variables. One without ``ray_actor_options`` reserves no
    CPU, as other apps do not.
    """
    told = spec.model_dump_json()
    return [_deployment(part, told, version, runtime_env) for part in spec.parts]


def _deployment(part: PartSpec, told: str, version: str, runtime_env: dict[str, Any]) -> Deployment:
    configured = schema_to_deployment(DeploymentSchema(**part.options))
    asked = {"num_cpus": 0} if "ray_actor_options" not in part.options else configured.ray_actor_options
    env_vars = {**runtime_env["env_vars"], **variables(part.options)}
    return configured.options(
        func_or_class=MultiplexedPart if part.multiplexed else Part,
        ray_actor_options={**asked, "runtime_env": {**runtime_env, "env_vars": env_vars}},
        version=version,  # without one of ours, every deploy replaces all replicas
        _init_args=(told, version, part.name),
        _init_kwargs={},
        _internal=True,
    )
