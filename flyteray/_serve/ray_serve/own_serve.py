"""flyteray has a Serve of its own, beside the one that other code on the cluster starts and uses.

The code that starts Serve decides for all how HTTP reaches them, and the code that shuts it down ends the applications
of all. So flyteray shares none: its controller and replicas have a namespace of their own, and other users of Serve
never meet them. Serve has no setting for it; the difference is put in place in their processes alone.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import ray
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.actor import ActorHandle
from ray.serve._private import controller, deployment_state, replica
from ray.serve._private.constants import CONTROLLER_MAX_CONCURRENCY, SERVE_CONTROLLER_NAME
from ray.serve._private.storage.kv_store import RayInternalKVStore
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from flyteray._actors.calls import SERVE_NAMESPACE
from flyteray._serve.ray_serve.replica_actor import ReplicaActor
from flyteray._serve.ray_serve.replica_process import use_own_serve

# Ways in which a cluster may have Serve reach replicas; flyteray's are reached by its ingress.
_WAYS_IN = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_ENABLE_DIRECT_INGRESS")

_UNPLACED = ("DEPENDENCIES_UNREADY", "PENDING_CREATION")  # states of an actor, as long as it has no process

_LAST_MS = (
    10_000.0  # before a node is taken away: until then its replicas wait for others to take their place
)


def start() -> None:
    """Start Serve, without proxies; one that runs is left as it is."""
    options: dict[str, Any] = {
        "name": SERVE_CONTROLLER_NAME,
        "namespace": SERVE_NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": {HEAD_NODE_RESOURCE_NAME: 0.001},
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": CONTROLLER_MAX_CONCURRENCY,
        "enable_task_events": False,
    }
    if ways := ingress_variables():
        options["runtime_env"] = {"env_vars": ways}
    started = (
        ray.remote(ServeController)
        .options(**options)
        .remote(
            http_options=HTTPOptions(),
            global_logging_config=LoggingConfig(enable_access_log=False),
            proxy_location=ProxyLocation.Disabled,
        )
    )
    ray.get(started.check_alive.remote())


def find() -> ActorHandle:
    """Find its controller; raises ValueError where it was never started."""
    return ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)


def ingress_variables() -> dict[str, str]:
    """The environment variables that switch Serve's own ways to replicas off, where the cluster has some."""
    return {name: "0" for name in _WAYS_IN if os.environ.get(name, "0") != "0"}


class ServeController(controller.ServeController):  # type: ignore[misc]  # Ray has no types for it
    """Serve's controller in flyteray's namespace, with a memory and replicas of its own."""

    async def __init__(self, **options: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        use_own_serve()
        # Serve's is named after the namespace of the job that started it, which may be that of others' Serve too.
        controller.RayInternalKVStore = lambda _, *arguments: RayInternalKVStore(SERVE_NAMESPACE, *arguments)
        # Those of others' replicas are not left over because they are not ours.
        controller.get_all_live_placement_group_names = list
        replica.ReplicaActor = ReplicaActor
        deployment_state.ActorReplicaWrapper = PlacedReplica
        # Else one that may drain for longer than its node is still there is stopped before another one is ready.
        drains_ms = deployment_state.DeploymentState._group_shutdown_timeout_ms
        deployment_state.DeploymentState._group_shutdown_timeout_ms = staticmethod(
            lambda group: min(drains_ms(group), _LAST_MS)
        )
        await super().__init__(**options)


class PlacedReplica(deployment_state.ActorReplicaWrapper):  # type: ignore[misc]  # Ray has no types for it
    """A replica as Serve's controller knows it, which ends at once where it has no node yet.

    Serve would have it placed to tell it there that it ends: what an app that sleeps had asked for in vain would have
    a node added for it, and would be the first to get the hardware that others wait for.
    """

    def graceful_stop(self) -> float:
        with contextlib.suppress(ValueError):  # there is none any more
            actor = ray.get_actor(self._actor_name, namespace=SERVE_NAMESPACE)
            known = ray._private.state.state.actor_table(actor._actor_id.hex())
            if known.get("State") in _UNPLACED and not known["Pid"]:
                ray.kill(actor)
                return 0.0
        seconds: float = super().graceful_stop()
        return seconds
