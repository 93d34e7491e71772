"""Replicas on a real cluster: what they give the app, and what they survive."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import uvicorn
from fastapi import FastAPI

from flyteray import Resources, TaskEnvironment
from flyteray._client.apps.app import App
from flyteray._client.apps.serve import serve
from flyteray._client.runs.run import run
from flyteray._cluster.local import LocalCluster
from flyteray._plan import apps
from flyteray._plan.bundle import code
from flyteray._serve.ray_serve import deployment
from flyteray.app import AppEnvironment, Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import DeploymentError, RuntimeUserError
from tests.processes import runs, serves_controller
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

api = FastAPI()
web = FastAPIAppEnvironment(
    name="life-web",
    app=api,
    scaling=Scaling(replicas=2),
    parameters=[Parameter(name="journal", value="", env_var="JOURNAL"), Parameter(name="who", value="me")],
)


@api.get("/")
async def root() -> dict[str, Any]:
    return {"pid": os.getpid(), "who": get_parameter("who"), "journal": os.environ.get("JOURNAL")}


@api.get("/slow")
async def slow() -> str:
    note(os.environ["JOURNAL"], "asked")
    await asyncio.sleep(2)
    return "finished"


def note(journal: str, what: str) -> None:
    with Path(journal).open("a") as file:
        file.write(f"{os.getpid()} {what}\n")


@web.on_startup
def up(journal: str, who: str) -> None:
    subprocess.Popen(["sleep", "600"], start_new_session=True)  # nobody ends it, were it left
    note(journal, f"up {who}")


@web.on_shutdown
def down(journal: str) -> None:
    note(journal, "down")


function = AppEnvironment(
    name="life-function",
    port=8080,
    scaling=Scaling(replicas=2),
    parameters=[Parameter(name="who", value="function")],
)


@function.server
def serve_forever() -> None:
    uvicorn.run(api, host="0.0.0.0", port=8080)  # with uvicorn's own logging, which closes log handlers


nowhere = AppEnvironment(name="life-nowhere", args=["true"], resources=Resources(cpu=64))
ending = AppEnvironment(name="life-ending", scaling=Scaling(1))


@ending.server
async def serve_until_told() -> None:
    app = FastAPI()
    server = uvicorn.Server(uvicorn.Config(app, port=8080, log_config=None))

    @app.get("/")
    async def pid() -> int:
        return os.getpid()

    @app.post("/end")
    async def end() -> None:
        server.should_exit = True

    await server.serve()


needing = FastAPIAppEnvironment(
    name="life-needing", app=FastAPI(), scaling=Scaling(1), parameters=[Parameter(name="needed", value="")]
)


@needing.on_startup
def need(needed: str) -> None:
    if not Path(needed).exists():
        raise LookupError("what it needs is missing")


@asynccontextmanager
async def no_model(_: FastAPI) -> AsyncIterator[None]:
    raise LookupError("the model is missing")
    yield


broken = FastAPIAppEnvironment(name="life-broken", app=FastAPI(lifespan=no_model))

training = TaskEnvironment(name="life-training")


@training.task
async def train(rows: int) -> np.ndarray:
    return np.ones((rows, 1000), dtype=np.float64)


scoring = FastAPI()
model = FastAPIAppEnvironment(
    name="life-model",
    app=scoring,
    parameters=[Parameter(name="weights", value=RunOutput(type="object", task_name="life-training.train"))],
)
held: dict[str, np.ndarray] = {}


@model.on_startup
def take(weights: np.ndarray) -> None:
    held["weights"] = weights


@scoring.get("/")
def score() -> dict[str, Any]:
    weights = held["weights"]
    return {"sum": float(weights.sum()), "writable": bool(weights.flags.writeable)}


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("life") / "journal"


@pytest.fixture(scope="module")
def served(cluster: LocalCluster, journal: Path) -> Iterator[App]:
    """Two replicas for all tests of this file; the last one that takes it ends them."""
    web.parameters[0] = Parameter(name="journal", value=str(journal), env_var="JOURNAL")
    app = serve(web)
    yield app
    App.delete(app.name)


def pids(app: App, replicas: int = 2) -> set[int]:
    found: set[int] = set()

    def all_found() -> bool:
        found.add(httpx.get(app.endpoint, timeout=60).json()["pid"])
        return len(found) == replicas

    eventually(all_found)
    return found


def lines(journal: Path) -> list[str]:
    return sorted(line.split(" ", 1)[1] for line in journal.read_text().splitlines())


def test_a_replica_gives_the_app_its_parameters(served: App, journal: Path) -> None:
    answer = httpx.get(served.endpoint, timeout=60).json()

    assert answer["who"] == "me"
    assert answer["journal"] == str(journal)
    assert lines(journal) == ["up me", "up me"]


def test_a_killed_replica_is_replaced_and_what_it_had_started_is_ended(served: App) -> None:
    before = pids(served)
    victim = min(before)
    (left,) = psutil.Process(victim).children()
    os.kill(victim, signal.SIGKILL)

    eventually(lambda: len(pids(served) - before) == 1)
    assert victim not in pids(served)
    eventually(lambda: not runs(left))


def test_replicas_with_a_hard_coded_port_on_one_node_outlive_serves_controller(served: App) -> None:
    app = serve(function)
    before = pids(app), pids(served)
    assert httpx.get(app.endpoint, timeout=60).json()["who"] == "function"

    old = serves_controller()
    assert old is not None
    os.kill(old, signal.SIGKILL)
    eventually(lambda: serves_controller() not in (None, old))
    eventually(lambda: deployment.status(app.info.target) is not None)  # it has recovered what it knew

    assert (pids(app), pids(served)) == before
    App.delete(app.name)


def test_open_requests_finish_and_shutdown_runs_once_in_every_replica(served: App, journal: Path) -> None:
    started = [child for pid in pids(served) for child in psutil.Process(pid).children()]
    before = lines(journal)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.get, f"{served.endpoint}/slow", timeout=30)
        eventually(lambda: "asked" in lines(journal))
        served.deactivate(wait=True)

        assert answer.result().json() == "finished"
    assert lines(journal) == sorted([*before, "asked", "down", "down"])
    assert len(started) == 2
    eventually(lambda: not any(map(runs, started)))


def test_an_app_that_is_started_again_while_it_is_deleted_stays(served: App, journal: Path) -> None:
    served.activate(wait=True)
    before = pids(served)
    asked = lines(journal).count("asked")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.get, f"{served.endpoint}/slow", timeout=30)
        eventually(lambda: lines(journal).count("asked") > asked)
        deleted = pool.submit(App.delete, served.name)
        eventually(lambda: served.sync().is_deactivated())
        served.activate(wait=True)

        with pytest.raises(RuntimeUserError, match="'life-web' was started again before it had stopped"):
            deleted.result()
        assert answer.result().json() == "finished"
    assert pids(served) == before


def test_what_serve_runs_of_ours_and_nobody_wants_is_ended(cluster: LocalCluster) -> None:
    App.listall()  # connects
    spec = apps.app_spec(nowhere, code.ship(nowhere)[0])
    deployment.deploy("life-nobody.v1", "life-nobody.v1", spec, {}, 1)
    assert deployment.status("life-nobody.v1") is not None

    eventually(lambda: "life-nobody.v1" not in deployment.sizes(), timeout=60)


def test_an_app_that_served_and_cannot_start_is_tried_until_it_can(tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    needed.touch()
    needing.parameters[0] = Parameter(name="needed", value=str(needed))
    app = serve(needing)
    app.deactivate(wait=True)
    needed.unlink()
    app.activate()

    eventually(
        lambda: (error := app.sync().info.error) and "what it needs is missing" in error.message, timeout=90
    )
    unanswered = httpx.get(f"{app.endpoint}/")
    assert (unanswered.status_code, unanswered.headers["retry-after"]) == (503, "1")
    eventually(lambda: deployment.status(app.info.target) is None, timeout=90)  # Serve has given it up
    needed.touch()
    app.wait(timeout=120)
    assert httpx.get(f"{app.endpoint}/docs", timeout=60).is_success
    assert app.info.error is None
    App.delete(app.name)


def test_a_replica_whose_server_function_ends_is_replaced() -> None:
    app = serve(ending)
    before = httpx.get(app.endpoint, timeout=60).json()
    httpx.post(f"{app.endpoint}/end", timeout=60)

    # Requests wait for the one that takes its place.
    eventually(lambda: httpx.get(app.endpoint, timeout=60).raise_for_status().json() != before)
    App.delete(app.name)


def test_a_failing_lifespan_is_reported_with_the_users_exception() -> None:
    with pytest.raises(DeploymentError, match="LookupError: the model is missing") as raised:
        serve(broken)

    assert isinstance(raised.value.__cause__.__cause__, LookupError)  # type: ignore[union-attr]
    App.delete(broken.name)


def test_an_object_from_a_run_arrives_without_a_copy() -> None:
    run(train, rows=1000).wait()
    app = serve(model)

    assert httpx.get(app.endpoint, timeout=60).json() == {"sum": 1_000_000.0, "writable": False}
    App.delete(app.name)
