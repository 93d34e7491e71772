"""An app that nobody uses has no replica; whoever comes next is answered nevertheless."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from websockets.sync.client import connect

import flyteray as flyte
from flyteray._actors.questions import ask as ask_controller
from flyteray._client.session.session import session
from flyteray._cluster.local import LocalCluster
from flyteray._plan.info import AppPhase
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App
from tests.waiting import eventually

api = FastAPI()
sleeper = FastAPIAppEnvironment(name="sleeper", app=api, scaling=Scaling((0, 2), scaledown_after=0))


@sleeper.on_startup
def refuse_while_told() -> None:
    if Path(os.environ["REFUSE"]).exists():
        raise RuntimeError("It does not start today.")


@api.get("/")
async def pid() -> int:
    return os.getpid()


@api.post("/")
async def size(request: Request) -> int:
    return len(await request.body())


@api.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@pytest.fixture
def refuse(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "refuse"
    App.delete("sleeper")


def ask(endpoint: str) -> list[Any]:
    """What a GET, a POST and a WebSocket are answered that come at one time."""

    def through_a_websocket() -> str | bytes:
        address = httpx.URL(endpoint)
        with (
            socket.create_connection((address.host, address.port)) as raw,
            connect(
                f"ws://{address.netloc.decode()}{address.path}/ws", sock=raw, proxy=None, open_timeout=60
            ) as open,
        ):
            open.send("hi")
            return open.recv()

    with ThreadPoolExecutor() as pool:
        answers = [
            pool.submit(lambda: httpx.get(endpoint, timeout=60).json()),
            pool.submit(lambda: httpx.post(endpoint, content=b"x" * 1_000_000, timeout=60).json()),
            pool.submit(through_a_websocket),
        ]
    return [each.result() for each in answers]


def test_an_app_sleeps_and_whoever_comes_is_answered(cluster: LocalCluster, refuse: Path) -> None:
    app = flyte.with_servecontext(env_vars={"REFUSE": str(refuse)}).serve(sleeper)
    first = httpx.get(app.endpoint, timeout=60).json()

    eventually(lambda: app.sync().info.asleep)
    second, *rest = ask(app.endpoint)  # the replica is about to go, and gets no request any more

    assert rest == [1_000_000, "hi"]
    assert second != first
    eventually(lambda: app.sync().info.asleep and app.info.ready_replicas == 0)
    assert (app.status, app.info.replicas) == (AppPhase.ACTIVE, 0)
    assert flyte.with_servecontext(env_vars={"REFUSE": str(refuse)}).serve(sleeper).info.asleep

    refuse.touch()
    refused = httpx.get(app.endpoint, timeout=60)
    assert (refused.status_code, "flyteray get app sleeper" in refused.text) == (503, True)
    assert "It does not start today." in str(app.sync().info.error)

    refuse.unlink()
    third, *rest = eventually(lambda: httpx.get(app.endpoint, timeout=60).status_code == 200) and ask(
        app.endpoint
    )
    assert rest == [1_000_000, "hi"]
    assert third not in (first, second)
    assert app.sync().info.error is None
    # At least by the request that came in vain and by the one after it.
    [load] = [load for load in ask_controller(session().controller.traffic.loads()) if load.app == "sleeper"]
    assert load.cold_starts >= 2
