"""A script for a cluster with nodes that do not fit: ``serve CPUS`` an app, or ``run CPUS`` a task that calls one.

The CPUs that are asked for decide which of the nodes it can be.
"""

from __future__ import annotations

import json
import socket
from urllib.request import urlopen

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import BaseRuntimeError
from tests.console import answer

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


def told(verb: str, cpus: str) -> str:
    """What is answered to who asks this script, in its words or in a line."""
    try:
        if verb == "serve":
            return flyte.serve(apps[int(cpus)]).endpoint
        return " ".join(flyte.run(call.override(resources=flyte.Resources(cpu=int(cpus)))).outputs())
    except BaseRuntimeError as error:
        return f"{type(error).__name__} {error}"


if __name__ == "__main__":
    answer(told)
