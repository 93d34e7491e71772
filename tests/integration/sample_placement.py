"""An app and tasks of different sizes, on a cluster of two CPUs without a GPU."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastapi import FastAPI

from flyteray import GPU, Resources, TaskEnvironment
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

small = TaskEnvironment(name="small-tasks", resources=Resources(cpu=1))
huge = TaskEnvironment(name="huge-tasks", resources=Resources(cpu=64, memory="1Gi"))


api = FastAPI()


@api.get("/")
def root() -> str:
    return os.environ["VERSION"]


def version_of_roomy(name: str, resources: Resources | None, replicas: int = 1) -> FastAPIAppEnvironment:
    """A version of the app that answers with its name."""
    scaling = Scaling(replicas=replicas)
    return FastAPIAppEnvironment(
        name="roomy", app=api, env_vars={"VERSION": name}, resources=resources, scaling=scaling
    )


first = version_of_roomy("first", None)
wide = version_of_roomy("wide", Resources(cpu=2))
with_gpu = version_of_roomy("gpu", Resources(gpu=GPU("T4", 1)))
many = version_of_roomy("many", Resources(cpu=1), replicas=3)


@huge.task
def never() -> None: ...


@small.task
def parent() -> None:
    never()


@small.task
def hold_until(file: str) -> None:
    while not Path(file).exists():
        time.sleep(0.05)
