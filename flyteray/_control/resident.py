"""The resident process of a cluster starts flyteray's actors and stays, because Ray's workers belong to a job.

Ray counts what a detached actor submits to the job of the driver that made the actor. It gives all of that the packages
and variables of the job, and ends the idle workers of a job whose driver has ended: were that a user's script, every
later run would have that script's variables and wait for new workers.
"""

from __future__ import annotations

import os
import pickle
import sys
import time

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._cluster.processes import Leader
from flyteray._machine.file_lock import alone
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError

_LOOK_S = 1.0


def main() -> None:
    """Start the actors, say how that went on stdout, and stay unless others have started them or they can't be."""
    if os.fork():
        return  # the other one is nobody's child: Ray ends those of its workers
    from flyteray._cluster.connection import connect  # deferred, as the next: Ray takes a second to import
    from flyteray._cluster.nodes import session_folder
    from flyteray._control.actors import run_already, start_actors

    watched = Leader.of(int(sys.argv[1]))
    settings: Settings = pickle.load(sys.stdin.buffer)
    failure: Exception | None = None
    stays = False
    try:
        connect(settings)
        with alone(session_folder() / "flyteray.lock"):
            if not run_already():
                start_actors(settings)
                stays = True
                ask(controller().info(None))  # a registry may be another cluster's, a storage refuse
    except (BaseRuntimeError, ValueError) as error:
        failure = error
    os.write(sys.stdout.fileno(), pickle.dumps(failure))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    while stays and failure is None and watched.is_alive():
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
