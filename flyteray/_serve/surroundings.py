"""The surroundings of an app's code in a process of the cluster: variables, secrets, the cluster, a folder."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import serve

from flyteray import _private
from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._cluster import nodes
from flyteray._cluster.images.venv import images_folder, python_for
from flyteray._cluster.workers import launch
from flyteray._declare.context import RAW_DATA_PATH
from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.spec import AppSpec, OutputRef
from flyteray._serve.hosted_app import HostedApp
from flyteray._serve.parameters.parameters import Outputs
from flyteray._serve.programs import orphans
from flyteray._serve.ray_serve import replica_process
from flyteray._tasks import outputs
from flyteray._traces.process import tracing
from flyteray.errors import ClusterError

PORT = "FLYTERAY_REPLICA_PORT"  # is there before the user's module asks env.get_port()
_INGRESS_S = 10.0  # for one that could not be started at once
_AGAIN_S = 1.0


async def enter(app: HostedApp, variables: Mapping[str, str], version: str) -> None:
    """Make a process of Serve's one that the code of an app can be loaded in.

    ``variables`` are those that its ``version`` declares.
    """
    settle(variables)
    await join(app, version)


def settle(variables: Mapping[str, str]) -> None:
    """Do of :func:`enter` what can be done before the process is anybody's."""
    orphans.mark_children()
    replica_process.log_own_messages()
    launch.settle(variables)


async def join(app: HostedApp, version: str) -> None:
    """Do what remains of :func:`enter`: the secrets, the cluster."""
    replica_process.protect_log_handlers()
    await app.deliver_secrets()
    if ray.is_initialized():
        await _join_cluster(version)
    replica_process.confine()


def python_of(spec: AppSpec) -> Path | None:
    """The Python that an app's program finds packages of; None where it has no image of its own. It may be built."""
    image = spec.environment.image
    return python_for(image, images_folder()) if image is not None and image.program else None


class ClusterOutputs(Outputs):
    """Outputs in the object store or the storage of the connected cluster."""

    def locate(self, ref: OutputRef) -> str:
        return ref.run_name or ask(controller().outputs.locate(ref))

    def read(self, ref: OutputRef) -> Any:
        assert ref.run_name is not None
        return outputs.load(ref.run_name, ref.getter)

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        return ask(controller().outputs.newer(list(refs), list(seen), timeout_s))


async def _join_cluster(version: str) -> None:
    """Make sure of the storage, and have the app's code find others through the ingress of its own machine."""
    here = ray.get_runtime_context().get_node_id()
    await controller().storage.prove(here, os.environ.get(RAW_DATA_PATH))
    address = nodes.own_address()
    deadline = time.monotonic() + _INGRESS_S
    while (info := await controller().info(address)).near_problem is not None:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"A replica can't run on the machine {address}, as nobody could reach it: its ingress does not start. "
                f"{info.near_problem}"
            )
        await asyncio.sleep(_AGAIN_S)
    os.environ[ENDPOINT_PATTERN] = info.pattern_for_code
    if info.traces:
        told = {
            "service.version": version,
            "service.instance.id": serve.get_replica_context().replica_id.unique_id,
        }
        tracing().lend(info.traces, told)


def new_folder() -> Path:
    """Make an empty folder for a process."""
    parent = cache_folder().parent  # a killed replica's files go with the cluster's others
    _private.folder(parent)
    return Path(tempfile.mkdtemp(prefix="flyteray-app-", dir=parent))
