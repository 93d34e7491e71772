"""A script that serves apps and runs tasks for hardware that a cluster has not yet, for the tests of autoscaling."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import ray
from fastapi import FastAPI
from ray.core.generated import autoscaler_pb2

import flyteray as flyte
from flyteray.app import AppEnvironment, Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import BaseRuntimeError
from flyteray.remote import App
from tests.console import answer
from tests.integration.sample_nodes import api as loaded_api
from tests.waiting import eventually

CHILD = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
PROGRAM = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["CUDA_VISIBLE_DEVICES"].encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
api = FastAPI()
tasks = flyte.TaskEnvironment(name="growing", resources=flyte.Resources(cpu=1, gpu=flyte.GPU("T4", 1)))
sold_out = flyte.TaskEnvironment(name="sold-out", resources=flyte.Resources(cpu=1, gpu=flyte.GPU("L4", 1)))
too_big = flyte.TaskEnvironment(name="too-big", resources=flyte.Resources(cpu=1, gpu=8))


def resources(gpu: Any) -> flyte.Resources:
    """A bit of a CPU, and GPUs."""
    return flyte.Resources(cpu="0.1", gpu=gpu)


T4 = flyte.GPU("T4", 1)
HALF = flyte.GPU("A100", 1, partition="3g.20gb")
sleeper = FastAPIAppEnvironment(
    name="sleeper",
    app=loaded_api,
    resources=resources(T4),
    scaling=Scaling((0, 2), metric=Scaling.Concurrency(2), scaledown_after=3),
)
steady = FastAPIAppEnvironment(
    name="steady", app=loaded_api, resources=resources(T4), scaling=Scaling((1, 1))
)
never = FastAPIAppEnvironment(name="never", app=api, resources=resources(8))
nowhere = FastAPIAppEnvironment(name="nowhere", app=api, resources=resources(flyte.GPU("L4", 1)))
halves = FastAPIAppEnvironment(name="halves", app=api, resources=resources(HALF), scaling=Scaling((2, 2)))
program = AppEnvironment(
    name="program",
    command=[sys.executable, "-c", PROGRAM, "8080"],
    port=8080,
    resources=resources(flyte.GPU("T4 shared", 1)),
)


@api.get("/")
def where() -> dict[str, Any]:
    """The process and node that this is on, and the GPUs that it and a child of it are told of."""
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    return {
        "pid": os.getpid(),
        "node": ray.util.get_node_ip_address(),
        "devices": os.environ["CUDA_VISIBLE_DEVICES"],
        "child": child.stdout.strip(),
    }


@tasks.task
def devices() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


@sold_out.task
def hopeful() -> None: ...


@too_big.task
def impossible() -> None: ...


def state(app: str) -> dict[str, Any]:
    """What waits, where the replicas are, and the accelerators of nodes that are there, by address."""
    info = App.get(app).info
    return {
        "waiting": info.waiting,
        "hosts": [replica.host for replica in info.replica_list],
        "asleep": info.asleep,
        "nodes": {
            node["NodeManagerAddress"]: kind.partition(":")[2]
            for node in ray.nodes()
            if node["Alive"]
            for kind in node["Resources"]
            if kind.startswith("accelerator_type:")
        },
    }


def preempt(address: str, seconds: int) -> bool:
    """Tell Ray that a node will be taken away in so many seconds, as clouds do."""
    (node,) = (
        each["NodeID"] for each in ray.nodes() if each["Alive"] and each["NodeManagerAddress"] == address
    )
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, _ = ray._private.worker.global_worker.gcs_client.drain_node(
        node, reason, "test", int((time.time() + seconds) * 1000)
    )
    return bool(accepted)


def waiting(task: Any) -> str:
    """What a run of a task waits for that can't begin."""
    run = flyte.run(task)
    try:
        return eventually(
            lambda: (run.sync() and "type" in (run.info.waiting or "") and run.info.waiting) or ""
        )
    finally:
        run.abort()


def told(*words: str) -> Any:
    """What is answered to who asks this script, in its words or in a line."""
    try:
        match words:
            case ["serve", name]:
                return flyte.serve(globals()[name]).url
            case ["serve-soon", name]:
                return flyte.with_servecontext(activate_timeout=1.0).serve(globals()[name]).url
            case ["run", name]:
                return flyte.run(globals()[name]).outputs()[0]
            case ["wait", name]:
                return waiting(globals()[name])
            case ["state", name]:
                flyte.init()
                return state(name)
            case ["delete", name]:
                return App.delete(name)
            case ["preempt", address, seconds]:
                App.listall()  # connects
                return preempt(address, int(seconds))
            case _:
                raise ValueError(f"{words}?")
    except BaseRuntimeError as error:
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    answer(told)
