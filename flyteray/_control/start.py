"""Making sure that a connected cluster runs flyteray's actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from flyteray._cluster import actors
from flyteray._control.controller import Controller
from flyteray._ingress.ingress import Ingress
from flyteray._plan.spec import ClusterInfo
from flyteray._settings import Settings
from flyteray._tasks.keeper import Keeper
from flyteray.errors import InitializationError

_HEAD = {"node:__internal_head__": 0.001}  # the registry's file and the ingress' port are on the head node


def ensure_controller(settings: Settings) -> ClusterInfo:
    """The addresses of the connected cluster; starts ingress, keeper and controller where they don't run yet.

    Two clients that come at the same time start them once.
    """
    try:
        actors.find(actors.CONTROLLER)
    except InitializationError:
        _start(settings)
    info: ClusterInfo = actors.call(actors.CONTROLLER, "info")
    return info


def _start(settings: Settings) -> None:
    host = "127.0.0.1"
    _detached(Ingress, actors.INGRESS, str(settings.home / "ingress"), host, settings.port or 0)
    port: int = actors.call(actors.INGRESS, "port")
    cluster = ClusterInfo(
        storage=settings.storage,
        ingress_host=host,
        ingress_port=port,
        endpoint_pattern=f"http://{host}:{port}/{{app_fqdn}}",
    )
    _detached(Keeper, actors.keeper_name())
    _detached(Controller, actors.CONTROLLER, cluster, _database(settings))


def _database(settings: Settings) -> str:
    if settings.database is not None:
        return settings.database
    # SQLite needs a real file: beside the outputs where they are on disk.
    folder = settings.home if "://" in settings.storage else Path(settings.storage)
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'registry.sqlite'}"


def _detached(cls: type, name: str, *arguments: Any) -> None:
    options: dict[str, Any] = {
        "name": name,
        "namespace": actors.NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": _HEAD,
        "max_restarts": -1,
        "max_task_retries": 0,
    }
    ray.remote(cls).options(**options).remote(*arguments)
