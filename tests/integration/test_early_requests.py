"""Requests for an app that was only just deployed: they wait for its first replica, or are told why there is none."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

import flyteray as flyte
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

api = FastAPI()


def version_of_early(**env_vars: str) -> FastAPIAppEnvironment:
    env = FastAPIAppEnvironment(name="early", app=api, env_vars=env_vars, scaling=Scaling(1))
    env.on_startup(start)
    return env


def start() -> None:
    while (held := os.environ.get("HELD")) and Path(held).exists():
        time.sleep(0.05)
    if "FAILS" in os.environ:
        raise LookupError(os.environ["FAILS"])


early = version_of_early()
HELD = Path(tempfile.gettempdir(), f"flyteray-held-{os.getpid()}")
held = version_of_early(HELD=str(HELD))
broken = version_of_early(FAILS="there is no größe")
callers = flyte.TaskEnvironment(name="early-callers", depends_on=[early])


@api.post("/")
async def size(request: Request) -> int:
    return len(await request.body())


@callers.task
def ask(size: int) -> int:
    answer: int = httpx.post(early.endpoint, content=b"x" * size, timeout=60).raise_for_status().json()
    return answer


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool
    HELD.unlink(missing_ok=True)
    if "early" in [app.name for app in App.listall()]:
        App.delete("early")


def deployed(env: FastAPIAppEnvironment) -> Any:
    [deployment] = flyte.deploy(env)
    app = deployment.envs["early"].deployed_app  # type: ignore[union-attr]
    assert app is not None
    return app


def asked(pool: ThreadPoolExecutor, endpoint: str) -> Future[httpx.Response]:
    return pool.submit(httpx.post, endpoint, content=b"x", headers={"Accept": "application/json"}, timeout=90)


def test_a_task_and_clients_reach_an_app_that_was_only_just_deployed(pool: ThreadPoolExecutor) -> None:
    flyte.deploy(callers)

    runs = [flyte.run(ask, size) for size in (1, 1_000_000)]
    answers = [asked(pool, early.endpoint) for _ in range(3)]

    assert [run.outputs()[0] for run in runs] == [1, 1_000_000]
    assert [answer.result().json() for answer in answers] == [1, 1, 1]


def test_who_waits_for_an_app_that_cannot_start_is_told_why(pool: ThreadPoolExecutor) -> None:
    app = deployed(broken)

    first = asked(pool, app.endpoint).result()
    eventually(lambda: app.sync().status == "failed")
    later = httpx.get(app.endpoint, timeout=5)

    assert (first.status_code, later.status_code) == (503, 503)
    assert "LookupError: there is no größe" in first.json()["error"]
    assert "LookupError: there is no größe" in later.text


def test_who_waits_is_answered_by_a_newer_version_or_told_that_there_is_no_app_any_more(
    pool: ThreadPoolExecutor,
) -> None:
    HELD.touch()
    app = deployed(held)
    waits = asked(pool, app.endpoint)

    deployed(early)
    assert waits.result().json() == 1

    App.delete("early")
    deployed(held)
    address = httpx.URL(app.endpoint)
    with contextlib.closing(HTTPConnection(address.host, address.port or 80, timeout=90)) as client:
        client.request("GET", address.path)
        deleting = pool.submit(App.delete, "early")
        assert client.getresponse().status == 503
    HELD.unlink()
    deleting.result()
