"""What processes do, when any of them may end while it is looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil
import ray

from flyteray._actors.calls import SERVE_NAMESPACE
from flyteray._cluster.local import LocalCluster
from flyteray._cluster.processes import members


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; one that only waits to be reaped has."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def words(process: psutil.Process) -> list[str]:
    """Its command line; none once it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """The addresses and ports on which they listen; one that has ended listens nowhere."""
    found: set[tuple[str, int]] = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):  # one that is ending may refuse its last look
            found |= {
                (each.laddr.ip, each.laddr.port)
                for each in process.net_connections("inet")
                if each.status == psutil.CONN_LISTEN
            }
    return found


def serves_controller() -> int | None:
    """The process of the controller of flyteray's own Serve; None between two lives of it."""
    controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace=SERVE_NAMESPACE)
    try:
        pid: int = ray.get(controller.get_pid.remote(), timeout=30)
    except ray.exceptions.RayError:
        return None
    return pid


def processes_of(cluster: LocalCluster, title: str) -> list[psutil.Process]:
    """The processes of the cluster whose title starts like that."""
    found = members(cluster.id, cluster.leader)
    return [each for each in found if "".join(words(each)[:1]).startswith(title)]


def process(cluster: LocalCluster, title: str) -> psutil.Process:
    """The one process of the cluster whose title starts like that."""
    (one,) = processes_of(cluster, title)
    return one
