"""A script for a cluster with nodes that do not fit: ``serve CPUS`` an app, or ``run CPUS`` a task that calls one.

The CPUs that are asked for decide which of the nodes it can be.
"""

from __future__ import annotations

import json
import socket
import sys
from urllib.request import urlopen

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import BaseRuntimeError

api = FastAPI()
apps = {
    cpus: FastAPIAppEnvironment(name=f"odd-{cpus}", app=api, resources=flyte.Resources(cpu=cpus))
    for cpus in (1, 2, 3, 4)
}
tasks = flyte.TaskEnvironment(name="odd-tasks")


@api.get("/")
def who() -> str:
    return socket.gethostname()


@tasks.task
def call() -> tuple[str, str]:
    """Where this ran, and who answered there."""
    return socket.gethostname(), json.load(urlopen(apps[1].endpoint))


if __name__ == "__main__":
    cpus = int(sys.argv[2])
    try:
        if sys.argv[1] == "serve":
            print(flyte.serve(apps[cpus]).endpoint)
        else:
            print(*flyte.run(call.override(resources=flyte.Resources(cpu=cpus))).outputs())
    except BaseRuntimeError as error:
        print(type(error).__name__, error)
