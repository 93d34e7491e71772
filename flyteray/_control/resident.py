"""A process of the local cluster that starts flyteray's actors and stays, because Ray's workers belong to a job.

Ray counts what a detached actor submits to the job of the driver that made the actor, and ends the idle workers of a
job whose driver has ended: were that a user's script, every later run would wait for new workers.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

from flyteray import _private
from flyteray._cluster import processes
from flyteray._cluster.local import LocalCluster
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError

_LOG = Path("logs", "resident.log")


def start_resident(cluster: LocalCluster, settings: Settings) -> None:
    """Start the process and wait until it has started the actors, or another one of the same home is about to.

    Raises:
        ClusterError: the actors could not be started; nothing of the process is left.
    """
    with _private.opened(settings.home / _LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
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
        answer = answers.read()
    if answer:
        error: BaseRuntimeError = pickle.loads(answer)
        raise error


def main() -> None:
    """Start the actors, say how that went on stdout, and stay until the cluster ends."""
    from flyteray._cluster.connection import connect  # deferred, as the next: Ray takes a second to import
    from flyteray._control.actors import start_actors

    settings: Settings = pickle.load(sys.stdin.buffer)
    with _private.opened(settings.temp_dir / "resident.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another one is at it
        failed = b""
        try:
            connect(settings)
            start_actors(settings)
        except BaseRuntimeError as error:
            failed = pickle.dumps(error)
        os.write(sys.stdout.fileno(), failed)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        while not failed:
            signal.pause()


if __name__ == "__main__":
    main()
