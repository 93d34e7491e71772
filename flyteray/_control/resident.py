"""The resident process of the local cluster starts flyteray's actors and stays, because Ray's workers belong to a job.

Ray counts what a detached actor submits to the job of the driver that made the actor, and ends the idle workers of a
job whose driver has ended: were that a user's script, every later run would wait for new workers.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._machine.file_lock import FileLock
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError


def main() -> None:
    """Start the actors, say how that went on stdout, and stay until the cluster ends unless they could not start."""
    from flyteray._cluster.connection import connect  # deferred, as the next: Ray takes a second to import
    from flyteray._control.actors import start_actors

    settings: Settings = pickle.load(sys.stdin.buffer)
    with FileLock(settings.temp_dir / "resident.lock") as lock:
        if not lock.try_take():
            return  # another one is at it
        failed = b""
        try:
            connect(settings)
            start_actors(settings)
            ask(controller().info(None))  # a registry may be another cluster's, a storage refuse
        except (BaseRuntimeError, ValueError) as error:
            failed = pickle.dumps(error)
        os.write(sys.stdout.fileno(), failed)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        while not failed:
            signal.pause()


if __name__ == "__main__":
    main()
