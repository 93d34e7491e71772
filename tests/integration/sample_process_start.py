"""What processes of the cluster are started with, as user code sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from fastapi import FastAPI

from flyteray import Resources, TaskEnvironment
from flyteray.app import AppEnvironment
from flyteray.app.extras import FastAPIAppEnvironment

VARIABLES = {
    "TZ": "Asia/Tokyo",
    "PYTHONPATH": "/flyteray/nowhere",
    "PYTHONHASHSEED": "7",
    "LD_LIBRARY_PATH": "/flyteray/lib",
    "MALLOC_ARENA_MAX": "1",
    "LC_ALL": "C.UTF-8",
    "PASSWORD": "p$PATH@h ${HOME} ${NOPE} $$ `id`\n'\"=é",
    "EMPTY": "",
}


def found() -> dict[str, Any]:
    """What only a process that was started with its variables knows."""
    return {
        "variables": {name: os.environ.get(name) for name in VARIABLES},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "zone": time.tzname[0],
        "hash": hash("flyteray"),
        "on_path": "/flyteray/nowhere" in sys.path,
        "exec": subprocess.check_output(["printenv", "PASSWORD"], text=True).removesuffix("\n"),
        "pid": os.getpid(),
    }


chosen = TaskEnvironment("start-chosen", env_vars=VARIABLES)
plain = TaskEnvironment("start-plain")
wide = TaskEnvironment("start-wide", resources=Resources(cpu=2))
narrow = TaskEnvironment("start-narrow", resources=Resources(cpu="500m"))
unlimited = TaskEnvironment("start-unlimited", resources=Resources(cpu=0))


@plain.task
def in_plain() -> tuple[str | None, str | None, int]:
    return os.environ.get("PASSWORD"), os.environ.get("OMP_NUM_THREADS"), os.getpid()


@wide.task
def in_wide() -> tuple[str | None, int]:
    return os.environ.get("OMP_NUM_THREADS"), os.getpid()


@narrow.task
def in_narrow() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


@unlimited.task
def in_unlimited() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


@chosen.task
def in_chosen() -> dict[str, Any]:
    return found()


@chosen.task
async def in_family() -> tuple[dict[str, Any], tuple[str | None, str | None, int]]:
    return found(), await in_plain.aio()


api = FastAPI()


@api.get("/")
def show() -> dict[str, Any]:
    return found()


web = FastAPIAppEnvironment("start-web", app=api, env_vars=VARIABLES)
web_of_two = FastAPIAppEnvironment(
    "start-web-of-two", app=api, env_vars=VARIABLES, resources=Resources(cpu=2)
)
program = AppEnvironment(
    "start-program",
    args=["python", "-m", __name__],
    env_vars={**VARIABLES, "PATH": "/usr/bin:/bin"},
)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(
            [os.environ.get("PATH"), os.environ.get("PASSWORD"), os.environ.get("OMP_NUM_THREADS")]
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())


if __name__ == "__main__":
    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), _Handler).serve_forever()
