"""An app that follows a task, for the tests of parameters on a cluster."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from flyteray.app import Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import Dir
from tests.integration.sample_tasks import env

DATA = Path(tempfile.gettempdir(), f"flyteray-live-{os.getpid()}")  # of the process that serves it
MOUNT = DATA / "mounted"

api = FastAPI()
live = FastAPIAppEnvironment(
    name="live",
    app=api,
    scaling=Scaling(replicas=1),
    parameters=[
        Parameter("model", RunOutput("object", task_name="samples.train", follow=True), env_var="MODEL"),
        Parameter("first", None),
        Parameter("data", Dir(path=str(DATA / "data")), mount=str(MOUNT)),
    ],
)


@env.task
def train(generation: int) -> dict[str, Any]:
    return {"generation": generation, "w": np.full(50_000, generation)}


@live.on_update
async def check(model: dict[str, Any], first: dict[str, Any]) -> None:
    if model["generation"] < first["generation"]:
        raise ValueError(f"generation {model['generation']} is worse")


@api.get("/")
async def root() -> dict[str, Any]:
    model = get_parameter("model")
    return {
        "generation": model["generation"],
        "whole": bool((model["w"] == model["generation"]).all()),
        "first": get_parameter("first")["generation"],
        "data": (Path(get_parameter("data")) / "name").read_text(),
        "variable": os.environ["MODEL"],
        "pid": os.getpid(),
    }
