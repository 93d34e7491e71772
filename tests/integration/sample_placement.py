"""An app and tasks of different sizes, on a cluster of two CPUs without a GPU."""

from __future__ import annotations

import os
import time
from pathlib import Path

import ray
from fastapi import FastAPI

from flyteray import GPU, Resources, TaskEnvironment
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

small = TaskEnvironment(name="small-tasks", resources=Resources(cpu=1))
huge = TaskEnvironment(name="huge-tasks", resources=Resources(cpu=64))
no_gpu = TaskEnvironment(name="gpu-tasks", resources=Resources(cpu=1, gpu=1))


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


@no_gpu.task
def never() -> None: ...


@small.task
def parent() -> None:
    never()


@huge.task
def cpus() -> tuple[float, str]:
    reserved = ray.get_runtime_context().get_assigned_resources()["CPU"]
    return reserved, os.environ["OMP_NUM_THREADS"]


@small.task
def parent_of_huge() -> tuple[float, str]:
    return cpus()


@small.task
def hold_until(file: str) -> None:
    while not Path(file).exists():
        time.sleep(0.05)
