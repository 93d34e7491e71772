"""Apps for the tests of local mode. What each has to find is said by its parameters, variables and secrets."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import AppEndpoint, AppEnvironment, Parameter, RunOutput, ctx, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment

tasks = flyte.TaskEnvironment(name="local-tasks")
backend_api, api, broken_api, slow_api, note_api, inner_api, live_api = (FastAPI() for _ in range(7))
NOTES = "NOTES"  # the variable that names the file which hooks write to


@tasks.task
def train(rate: float) -> tuple[dict[str, float], str]:
    return {"rate": rate}, f"trained at {rate}"


@tasks.task
def ask_backend() -> str:
    return backend.endpoint


backend = FastAPIAppEnvironment(name="backend", app=backend_api, port=0)
inner = FastAPIAppEnvironment(name="inner", app=inner_api, port=0)
everything = FastAPIAppEnvironment(
    name="everything",
    app=api,
    port=0,
    depends_on=[backend],
    env_vars={"DECLARED": "declared", "BOTH": "declared"},
    secrets=[flyte.Secret("local-token")],
    parameters=[
        Parameter("text", "declared", env_var="TEXT"),
        Parameter("given", type="file"),
        Parameter("folder", type="directory", mount="mounted/folder"),
        Parameter("model", RunOutput(type="object", task_name="local-tasks.train")),
        Parameter("said", RunOutput(type="string", task_name="local-tasks.train", getter=(1,))),
        Parameter("recorded", RunOutput(type="object", task_name="elsewhere.train")),
        Parameter("backend", AppEndpoint("backend"), env_var="BACKEND"),
    ],
)


@backend_api.get("/")
def in_backend() -> dict[str, str]:
    return {"mode": ctx().mode}


@everything.on_startup
def loaded(model: dict[str, float]) -> None:
    print(f"loaded {model}")


@api.get("/")
def in_everything() -> dict[str, Any]:
    run = flyte.run(train, 2.0)
    return {
        "text": get_parameter("text"),
        "file": Path(get_parameter("given")).read_text(),
        "folder": sorted(path.name for path in Path(get_parameter("folder")).iterdir()),
        "model": get_parameter("model"),
        "said": get_parameter("said"),
        "recorded": get_parameter("recorded"),
        "backend": get_parameter("backend"),
        "variables": {name: os.environ.get(name) for name in ("TEXT", "BACKEND", "DECLARED", "BOTH", "SAID")},
        "secret": os.environ["LOCAL_TOKEN"],
        "context": [ctx().mode, ctx().project, ctx().domain, ctx().raw_data_path],
        "levels": [os.environ.get(name) for name in ("LOG_LEVEL", "LOG_FORMAT", "USER_LOG_LEVEL")],
        "backend_endpoint": backend.endpoint,
        "own_port": everything.get_port().port,
        "run": [type(run).__name__, run.outputs()[1]],
        "ray": "ray" in sys.modules,
        "nested": type(flyte.serve(inner)).__name__,
        "inner": inner.endpoint,
        "folder_is_code": Path("tests/acceptance/local_apps.py").exists(),
    }


note = FastAPIAppEnvironment(name="note", app=note_api, port=0)


@note.on_startup
async def begin() -> None:
    print("the app begins", flush=True)
    _write("begin")


@note.on_shutdown
def end() -> None:
    _write("end")


@note_api.get("/")
def pid() -> int:
    return os.getpid()


@note_api.get("/crash")
def crash() -> None:
    print("about to crash", flush=True)
    os._exit(3)


broken = FastAPIAppEnvironment(name="broken", app=broken_api, port=0, depends_on=[backend])


@broken.on_startup
def explode() -> None:
    print("lighting the fuse", flush=True)
    raise RuntimeError("startup exploded")


slow = FastAPIAppEnvironment(name="slow", app=slow_api, port=0)


@slow.on_startup
async def dawdle() -> None:
    await asyncio.sleep(600)


live = FastAPIAppEnvironment(
    name="live",
    app=live_api,
    port=0,
    parameters=[Parameter("model", RunOutput(type="object", task_name="local-tasks.train", follow=True))],
)


@live.on_update
async def check(model: dict[str, float]) -> None:
    if model["rate"] < 0:
        raise ValueError("a rate below zero")


@live_api.get("/")
def rate() -> float:
    model: dict[str, float] = get_parameter("model")
    return model["rate"]


plain = AppEnvironment(name="plain", port=0)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(b"plain")


@plain.server
def serve_plain() -> None:
    own = socket.create_server(("127.0.0.1", 0))  # of its own, on whatever port is free
    assert own.getsockname()[1] != plain.get_port().port
    HTTPServer(("0.0.0.0", plain.get_port().port), _Answer).serve_forever()


program = AppEnvironment(
    name="program", port=0, args=f"{sys.executable} -m http.server $PORT --bind 127.0.0.1"
)


def _write(line: str) -> None:
    with open(os.environ[NOTES], "a") as file:
        file.write(f"{line} {time.time()}\n")
