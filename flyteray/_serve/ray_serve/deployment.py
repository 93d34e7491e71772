"""An app version is an application of flyteray's own Serve, which places its replicas; requests never pass it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import serve
from ray.serve._private.build_app import build_app
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.common import DeploymentID
from ray.serve.schema import ApplicationStatus, ServeInstanceDetails

from flyteray._plan.info import ReplicaInfo
from flyteray._plan.resources import ray_options
from flyteray._plan.spec import AppSpec
from flyteray._serve.ray_serve import own_serve
from flyteray._serve.replica import LONGEST_REQUEST_S, ON_SHUTDOWN_S, Replica
from flyteray._serve.spares import wanted

_DEPLOYMENT = "flyteray-replica"


@dataclass(frozen=True)
class ServeStatus:
    """Serve's status of an application; ``running`` replicas are constructed and not being stopped."""

    phase: ApplicationStatus
    message: str
    running: int

    @property
    def is_failing(self) -> bool:
        """Whether it has failed again and again to come up, or is not healthy."""
        return self.phase in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)

    @property
    def has_given_up(self) -> bool:
        """Whether Serve does not try any more to bring up an application that never ran."""
        return self.phase is ApplicationStatus.DEPLOY_FAILED


def deploy(name: str, version: str, spec: AppSpec, runtime_env: dict[str, Any], replicas: int) -> None:
    """Ask Serve for an app version; returns before anything of it runs. Asking again changes nothing.

    ``name`` is the Serve application's; replicas report under ``version`` and inherit nothing beside ``runtime_env``.
    """
    env_vars = {**own_serve.ingress_variables(), **runtime_env.get("env_vars", {})}
    deployment = serve.deployment(
        Replica,
        name=_DEPLOYMENT,
        num_replicas=replicas,
        ray_actor_options={
            **ray_options(spec.environment),
            "runtime_env": {**runtime_env, "env_vars": env_vars},
        },
        max_ongoing_requests=1_000_000,  # none passes through Serve
        health_check_period_s=1,
        # A replica in whose process C code computes does not even answer Serve, which asks three times in a row.
        health_check_timeout_s=max(15.0, (spec.request_timeout_s or LONGEST_REQUEST_S) / 3),
        graceful_shutdown_timeout_s=spec.drain_s + 2 * ON_SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=0.1,
    ).options(
        version=version, _internal=True
    )  # without a version of ours, every deploy replaces all replicas
    application = deployment.bind(spec.model_dump_json(), version)
    built = build_app(application, name=name, external_scaler_enabled=True)
    if spec.parts:
        from flyteray._serve.ray_serve.parts import deployments  # deferred: only compositions have parts

        others = deployments(spec, version, {**runtime_env, "env_vars": env_vars})
        built = replace(built, deployments=[*others, *built.deployments])
    if spec.spare:
        wanted.want(version)
    ServeControllerClient(own_serve.find()).deploy_applications(
        [built],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def scale(name: str, replicas: int) -> None:
    """Ask Serve for another number of replicas of an app version; raises ValueError where Serve does not know it."""
    deployment = DeploymentID(name=_DEPLOYMENT, app_name=name)
    # As Serve's own HTTP API does, without its dashboard.
    ray.get(own_serve.find().update_deployment_replicas.remote(deployment, replicas))


def sizes() -> dict[str, int]:
    """The number of replicas that Serve was asked for last, by application; those that are being ended are left out."""
    return {
        name: application["deployments"][_DEPLOYMENT]["target_num_replicas"]
        for name, application in _details()["applications"].items()
        if _DEPLOYMENT in application["deployments"]
    }


def undeploy(name: str) -> None:
    """Have Serve stop an app version; returns before it has. Unknown names are fine."""
    wanted.want_no_more(name)
    ray.get(own_serve.find().delete_apps.remote([name]))


def status(name: str) -> ServeStatus | None:
    """Serve's status of an app version; None when it knows nothing of it."""
    application = ServeInstanceDetails(**_details())._get_status().applications.get(name)
    if application is None:
        return None
    deployments = application.deployments
    messages = [application.message, *(each.message for each in deployments.values())]
    message = "\n".join(filter(None, messages))
    reached = deployments.get(_DEPLOYMENT)
    running = reached.replica_states.get("RUNNING", 0) if reached is not None else 0
    return ServeStatus(phase=application.status, message=message, running=running)


def _details() -> dict[str, Any]:
    details: dict[str, Any] = ray.get(own_serve.find().get_serve_instance_details.remote())
    return details


def replicas_alive() -> set[str]:
    """The names of the actors of all replicas whose processes live or are being made."""
    return {each["name"] for each in ray.util.list_named_actors(all_namespaces=True)}


def parts(names: set[str]) -> list[ReplicaInfo]:
    """The processes of the deployments beside the replicas of these app versions."""
    found = []
    for actor in _actors("ALIVE", names):
        version, _, replica = actor["Name"].rpartition("::")[2].partition("#")
        if not replica.startswith(f"{_DEPLOYMENT}#"):
            host = actor["Address"]["IPAddress"]
            found.append(
                ReplicaInfo(
                    replica_id=replica,
                    actor_name=actor["Name"],
                    version=version,
                    host=host,
                    port=0,
                    pid=actor["Pid"],
                )
            )
    return found


def has_unplaced(name: str) -> bool:
    """Whether Ray has found no node yet for a replica of an app version."""
    return any(not actor["Pid"] for actor in _actors("PENDING_CREATION", {name}))


def have_processes(names: set[str]) -> bool:
    """Whether any replica of these app versions starts, serves or ends; those without a node do not count."""
    return any(actor["Pid"] for state in ("PENDING_CREATION", "ALIVE") for actor in _actors(state, names))


def _actors(state: str, names: set[str]) -> Iterator[dict[str, Any]]:
    for actor in ray._private.state.state.actor_table(None, actor_state_name=state).values():
        application, _, deployment = actor["Name"].rpartition("::")[2].partition("#")
        if deployment and application in names:
            yield actor
