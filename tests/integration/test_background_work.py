"""What requests have left running ends before its replica does, on a cluster."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI

import flyteray as flyte
from flyteray.app import Scaling, Timeouts
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

FOLDER = Path(tempfile.gettempdir(), f"flyteray-jobs-{os.getpid()}")
api = FastAPI()


def version_of_jobs(**env_vars: str) -> FastAPIAppEnvironment:
    return FastAPIAppEnvironment(
        name="jobs",
        app=api,
        env_vars={"FOLDER": str(FOLDER), **env_vars},
        scaling=Scaling((0, 1), scaledown_after=2),
        timeouts=Timeouts(drain=120),
    )


jobs = version_of_jobs()
newer = version_of_jobs(NEWER="1")
kept: set[asyncio.Task[None]] = set()


@api.post("/task/{name}")
async def in_a_task(name: str) -> int:
    async def job() -> None:
        while not Path(os.environ["FOLDER"], "go").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        Path(os.environ["FOLDER"], name).touch()

    kept.add(asyncio.create_task(job()))
    return os.getpid()


@api.post("/background/{name}")
def in_the_background(name: str, tasks: BackgroundTasks) -> int:
    def job() -> None:
        while not Path(os.environ["FOLDER"], "go").exists():
            time.sleep(0.05)
        Path(os.environ["FOLDER"], name).touch()

    tasks.add_task(job)
    return os.getpid()


@pytest.fixture
def go() -> Iterator[Path]:
    FOLDER.mkdir()
    yield FOLDER / "go"
    App.delete("jobs")
    for path in FOLDER.iterdir():
        path.unlink()
    FOLDER.rmdir()


def start(app: App, name: str) -> int:
    with httpx.Client(base_url=app.endpoint, timeout=60) as client:
        pids = {
            client.post(f"/{kind}/{kind}-{name}").raise_for_status().json() for kind in ("task", "background")
        }
    (pid,) = pids
    return int(pid)


def test_an_app_does_not_sleep_and_a_replaced_replica_does_not_end_before_its_work(go: Path) -> None:
    app = flyte.serve(jobs)
    start(app, "first")
    eventually(lambda: [each.working for each in app.sync().info.replica_list] == [True])
    assert not app.info.asleep
    go.touch()
    eventually(lambda: app.sync().info.asleep and not app.info.replica_list)
    assert (FOLDER / "task-first").exists()
    assert (FOLDER / "background-first").exists()
    go.unlink()

    old = start(app, "second")
    app = flyte.serve(newer)
    assert start(app, "third") != old
    go.touch()
    eventually(lambda: {each.name for each in FOLDER.iterdir()} >= {"task-second", "background-second"})
    eventually(lambda: not Path(f"/proc/{old}").exists())
