"""The resident process is started where the cluster's head is, with nothing of the program that asks for it."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import ray
from ray.exceptions import RayError

from flyteray import _private
from flyteray._cluster import nodes, processes
from flyteray._cluster.local import FOREIGN, LocalCluster
from flyteray._settings import Settings
from flyteray.errors import ClusterError

_RESIDENT = "flyteray._control.resident"
_TAIL_LINES = 5
_WORKERS = "--python_worker_command="


def start_on_local(cluster: LocalCluster, settings: Settings) -> None:
    """Start the resident of the local cluster unless it runs; it has started the actors when this returns."""
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    environment = inherited | cluster.environment() | {processes.MARK: cluster.id}
    log = settings.home / "logs" / "resident.log"
    _raise(start(settings, sys.executable, environment, cluster.leader.pid, log))


def start_at_head(settings: Settings) -> None:
    """The same for a named cluster: a task of this program starts it on the head, and has ended when this returns."""
    # The cluster's key is a variable of the head, not of whoever comes first.
    there = replace(settings, address=ray.get_runtime_context().gcs_address, secrets_key=None)
    task = ray.remote(_start_here).options(num_cpus=0, resources={nodes.HEAD: 0.001})
    try:
        failure = ray.get(task.remote(pickle.dumps(there)))
    except RayError as error:
        raise ClusterError(
            f"flyteray could not be started on the cluster's head: {str(error).splitlines()[-1]} Is flyteray installed "
            "there, in the Python that Ray was started with?"
        ) from error
    _raise(pickle.loads(failure))


def start(
    settings: Settings, python: str, environment: Mapping[str, str], watched: int, log: Path
) -> Exception | None:
    """Have a resident start the actors, and stay until the process ``watched`` ends; what it failed with, if it did.

    ``python`` is the interpreter, ``environment`` all variables, ``log`` the file for what Ray says.
    """
    with _private.opened(log, "ab") as stream:
        process = subprocess.Popen(
            [python, "-m", _RESIDENT, str(watched)],
            env=environment,
            cwd=log.parent,  # Ray lets workers import from there: not from a user's folder
            stdin=subprocess.PIPE,  # not an argument: the database's URL may hold a password
            stdout=subprocess.PIPE,
            stderr=stream,
            start_new_session=True,
        )
    told, _ = process.communicate(pickle.dumps(settings))
    if told:
        failure: Exception | None = pickle.loads(told)
        return failure
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
    return ClusterError(f"flyteray's actors could not be started with {python}. The end of {log}:\n{tail}")


def python_of(raylet: Sequence[str]) -> str:
    """The Python that a raylet, by its command line, starts workers with unless somebody asks for another one."""
    command = next(word for word in raylet if word.startswith(_WORKERS))
    return shlex.split(command.removeprefix(_WORKERS))[0]


def _start_here(settings: bytes) -> bytes:
    """The pickled failure of the resident, or None: started as the raylet was, not as this worker of somebody's job."""
    raylet = psutil.Process(int(os.environ["RAY_RAYLET_PID"]))
    python, log = python_of(raylet.cmdline()), nodes.session_folder() / "logs" / "flyteray-resident.log"
    return pickle.dumps(start(pickle.loads(settings), python, raylet.environ(), raylet.pid, log))


def _raise(failure: Exception | None) -> None:
    if failure is not None:
        raise failure
