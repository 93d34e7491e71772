"""A program that is handed to a cluster as a Ray job: it runs tasks, serves an app, and leaves a run behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import beside  # a module that travels with the program
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

env = flyte.TaskEnvironment(name="submitted", resources=flyte.Resources(cpu=1))
api = FastAPI()
app = FastAPIAppEnvironment(
    name="submitted", app=api, resources=flyte.Resources(cpu="0.1"), scaling=Scaling(1), requires_auth=False
)


@api.get("/said")
def said() -> dict[str, object]:
    return {"said": beside.WORD, "environ": dict(os.environ), "pid": os.getpid()}


@env.task
def surroundings() -> dict[str, object]:
    """The worker that this runs in."""
    return {"pid": os.getpid(), "environ": dict(os.environ), "path": sys.path, "said": beside.WORD}


@env.task
def outlive(sign: str) -> str:
    """Waits for a file."""
    while not Path(sign).exists():
        time.sleep(0.05)
    return "seen"


if __name__ == "__main__":
    match sys.argv[1]:
        case "run":
            print(json.dumps(flyte.run(surroundings).outputs()[0]))
        case "serve":
            print(json.dumps({"url": flyte.serve(app).url}))
        case "leave":
            print(json.dumps({"run": flyte.run(outlive, sys.argv[2]).name}))
        case "end":
            run = flyte.remote.Run.get(sys.argv[2])
            run.wait()
            print(json.dumps({"output": run.outputs()[0]}))
