"""Flyteray's actors on a connected cluster: ingress, keeper and controller are started where they don't run yet."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ray

from flyteray import _private
from flyteray._actors import calls
from flyteray._actors.controller import CONTROLLER, controller
from flyteray._actors.keeper import keeper_name
from flyteray._actors.questions import ask
from flyteray._cluster import processes
from flyteray._cluster.local import LocalCluster
from flyteray._ingress.door import INGRESS, ingress
from flyteray._plan.info import ClusterInfo
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError, ClusterError, InitializationError

_START_S = 60.0
# By name: with Ray Serve they take a second to import, and clients that find them running do without.
_INGRESS = "flyteray._ingress.actor:IngressActor"
_KEEPER = "flyteray._tasks.keeper:Keeper"
_CONTROLLER = "flyteray._control.controller:Controller"
_RESIDENT = "flyteray._control.resident"
_RESIDENT_LOG = Path("logs", "resident.log")
_HEAD = {"node:__internal_head__": 0.001}  # the registry's file and the ingress' port are on the head node


def ensure_controller(settings: Settings, cluster: LocalCluster | None) -> ClusterInfo:
    """The addresses of the connected cluster, where its actors run from now on; ``cluster`` where it is flyteray's own.

    Two clients that come at the same time start them once; ClusterError where they can't be started.
    """
    if not _runs():
        if settings.exposure:
            print(f"Warning: {settings.exposure}", file=sys.stderr)
        if cluster is None:
            start_actors(settings)
        else:
            _start_resident(cluster, settings)
            _await_controller()
    return ask(controller().info())


def start_actors(settings: Settings) -> None:
    """Start those of ingress, keeper and controller that the connected cluster lacks."""
    folder, trusted = str(settings.home / "ingress"), (settings.trusted_proxies, settings.trusted_headers)
    _detached(_INGRESS, INGRESS, folder, settings.host, settings.port or 0, *trusted)
    port = ask(ingress().port())
    found_at = ask(ingress().found_at())
    where = f"[{found_at}]" if ":" in found_at else found_at
    cluster = ClusterInfo(
        storage=settings.storage,
        ingress_host=settings.host,
        ingress_port=port,
        endpoint_pattern=f"http://{where}:{port}/{{app_fqdn}}",
        auth=settings.asks_for_keys,
    )
    _detached(_KEEPER, keeper_name())
    _detached(_CONTROLLER, CONTROLLER, cluster, settings.database_url, str(settings.secrets_key_path))


def _runs() -> bool:
    try:
        calls.find(CONTROLLER)
    except InitializationError:
        return False
    return True


def _start_resident(cluster: LocalCluster, settings: Settings) -> None:
    """Start the resident process; returns when it has started the actors, or another one of this home is about to."""
    with _private.opened(settings.home / _RESIDENT_LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _RESIDENT],
            env={**os.environ, **cluster.environment(), processes.MARK: cluster.id},
            stdin=subprocess.PIPE,  # not an argument: the database's URL may hold a password
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as asked, process.stdout as answers:
        asked.write(pickle.dumps(settings))
        asked.close()
        failure = answers.read()
    if failure:
        error: BaseRuntimeError = pickle.loads(failure)
        raise error


def _await_controller() -> None:
    deadline = time.monotonic() + _START_S
    while not _runs():
        if time.monotonic() > deadline:
            raise ClusterError(
                "flyteray's actors did not start on the local cluster. `flyteray down` ends it."
            )
        time.sleep(0.05)


def _detached(kind: str, name: str, *arguments: Any) -> None:
    options: dict[str, Any] = {
        "name": name,
        "namespace": calls.NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": _HEAD,
        "max_restarts": -1,
        "max_task_retries": 0,
    }
    named = type(kind.rpartition(":")[2], (calls.ActorHost,), {})  # what Ray and `ps` show
    ray.remote(named).options(**options).remote(kind, *arguments)
