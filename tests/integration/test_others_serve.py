"""Ray Serve as others use it on the same cluster: reached as they say, whoever came first, and theirs to shut down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ray import serve as rays

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray._machine.ports import free_socket
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App
from tests.processes import serves_controller
from tests.waiting import eventually

THEIRS = """
import json, sys, httpx, ray
from ray import serve

ray.init(log_to_driver=False)
port = int(sys.argv[1])

@serve.deployment(ray_actor_options={"num_cpus": 0.1}, placement_group_bundles=[{"CPU": 0.1}])
class Theirs:
    def __call__(self, request=None):
        return "theirs"

serve.start(http_options={"port": port})
serve.run(Theirs.bind(), name="theirs", route_prefix="/x")
status = serve.status()
print(json.dumps({
    "answer": httpx.get(f"http://127.0.0.1:{port}/x", timeout=60).text,
    "applications": list(status.applications),
    "proxies": list(status.proxies.values()),
}))
"""
SHUT_DOWN = "import ray; from ray import serve; ray.init(log_to_driver=False); serve.shutdown()"

api = FastAPI()
ours = FastAPIAppEnvironment(name="ours", app=api, scaling=Scaling(1))


@api.get("/")
async def pid() -> int:
    return os.getpid()


@api.get("/theirs")
async def ask_theirs() -> Any:
    return await rays.get_app_handle("theirs").remote()


@pytest.fixture
def port(cluster: LocalCluster) -> Iterator[int]:
    with free_socket("127.0.0.1") as sock:
        port: int = sock.getsockname()[1]
    yield port
    App.delete("ours")
    plainly(cluster, SHUT_DOWN)


def plainly(cluster: LocalCluster, code: str, *arguments: str) -> str:
    """What a program of somebody without flyteray prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **cluster.environment()},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_others_serve_is_reached_as_they_say_and_shut_down_by_them_alone(
    cluster: LocalCluster, port: int
) -> None:
    app = flyte.serve(ours)
    before = httpx.get(app.endpoint, timeout=60).json()

    told = plainly(cluster, THEIRS, str(port))

    # Ray tells of its workers between the lines of everybody's programs.
    (line,) = (line for line in told.splitlines() if "(raylet)" not in line)
    assert line == '{"answer": "theirs", "applications": ["theirs"], "proxies": ["HEALTHY"]}'
    assert httpx.get(f"{app.endpoint}/theirs", timeout=60).json() == "theirs"

    # A controller that comes back ends what it takes for left over.
    killed = serves_controller()
    assert killed is not None
    os.kill(killed, 9)
    eventually(lambda: serves_controller() not in (None, killed))
    flyte.serve(ours)
    assert httpx.get(f"http://127.0.0.1:{port}/x", timeout=60).text == "theirs"
    assert httpx.get(app.endpoint, timeout=60).json() == before

    plainly(cluster, SHUT_DOWN)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/x", timeout=60)
    assert httpx.get(app.endpoint, timeout=60).json() == before
