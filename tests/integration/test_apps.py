from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets

import flyteray as flyte
from flyteray.app import AppEnvironment, Parameter, RunOutput, Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import AppNotFoundError, DeploymentError, ParameterMaterializationError
from flyteray.remote import App, AppPhase, Key
from tests.integration import sample_apps as apps
from tests.integration import sample_tasks
from tests.processes import listening
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def hello(cluster: Any) -> Iterator[App]:
    """The app most tests ask; each leaves it serving some version."""
    yield flyte.serve(apps.hello)
    App.delete("hello")


def test_an_app_is_reached_by_host_and_by_path(hello: App) -> None:
    by_path = httpx.get(f"{hello.endpoint}/", timeout=60).json()
    by_host = httpx.get(
        hello.endpoint.rpartition("/")[0], headers={"host": "hello.localhost"}, timeout=60
    ).json()

    assert by_path["greeting"] == by_host["greeting"] == "hi"
    assert by_path["variable"] == "hi"
    assert hello.url.startswith("http://hello.localhost:")
    assert hello.status is AppPhase.ACTIVE


def test_the_api_knows_the_prefix_that_it_is_reached_under(hello: App) -> None:
    assert "url: '/hello/openapi.json'" in httpx.get(f"{hello.endpoint}/docs", timeout=60).text
    assert (
        "url: '/openapi.json'"
        in httpx.get(
            hello.endpoint.rpartition("/")[0] + "/docs", headers={"host": "hello.localhost"}, timeout=60
        ).text
    )


def test_streams_and_websockets_pass(hello: App) -> None:
    with httpx.stream("GET", f"{hello.endpoint}/stream", timeout=60) as answer:
        assert b"".join(answer.iter_raw()) == b"0\n1\n2\n"

    async def talk() -> str:
        async with websockets.connect(f"{hello.endpoint}/ws".replace("http", "ws")) as socket:
            await socket.send("there")
            return str(await socket.recv())

    assert asyncio.run(talk()).endswith(" there")


def test_a_websocket_ends_with_the_key_that_it_was_opened_with(hello: App) -> None:
    async def talk() -> float:
        key = await Key.create.aio("ann", expires=timedelta(hours=1))
        async with websockets.connect(
            f"{hello.endpoint}/ws".replace("http", "ws"),
            additional_headers={"Authorization": f"Bearer {key.value}"},
        ) as socket:
            await socket.send("there")
            await socket.recv()
            await Key.delete.aio("ann")
            deleted = time.monotonic()
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 60)
            return time.monotonic() - deleted

    assert asyncio.run(talk()) < 1
    assert [(each.action, each.name) for each in Key.changes(2)] == [("deleted", "ann"), ("created", "ann")]


def test_a_handler_runs_tasks_sync_and_async(hello: App) -> None:
    assert httpx.get(f"{hello.endpoint}/double/4", timeout=60).json() == {"doubled": 8}
    assert httpx.get(f"{hello.endpoint}/double-sync/5", timeout=60).json() == {"doubled": 10}


def test_files_that_a_handler_makes_are_in_the_clusters_storage(hello: App) -> None:
    path = httpx.get(f"{hello.endpoint}/file").json()

    assert "/storage/apps/hello/data/" in path
    assert Path(path).read_text() == "from a handler"


@pytest.mark.usefixtures("own_session")
def test_tasks_and_whoever_has_called_init_read_the_endpoint_of_an_app(hello: App) -> None:
    flyte.init()

    assert apps.hello.endpoint == hello.endpoint
    assert flyte.run(apps.where).outputs()[0] == hello.endpoint
    assert asyncio.run(RunOutput("string", task_name="callers.where").materialize()) == hello.endpoint


def test_serving_unchanged_code_again_restarts_nothing(hello: App) -> None:
    flyte.serve(apps.hello)
    before = httpx.get(f"{hello.endpoint}/", timeout=60).json()

    again = flyte.serve(apps.hello)

    assert httpx.get(f"{hello.endpoint}/", timeout=60).json() == before
    assert again.info.version == App.get("hello").info.version


def test_replacing_a_version_loses_no_request_and_cuts_no_websocket(hello: App) -> None:
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.wait(0.02):
                try:
                    answers.append(client.get(f"{hello.endpoint}/", timeout=60).status_code)
                except httpx.HTTPError:
                    answers.append(0)

    async def change_under_load() -> list[str]:
        async with websockets.connect(f"{hello.endpoint}/ws".replace("http", "ws")) as socket:
            await socket.send("before")
            said = [str(await socket.recv())]
            for changed in (apps.first_change, apps.second_change):
                await flyte.serve.aio(changed)
            await socket.send("after")
            return [*said, str(await socket.recv())]

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        said = asyncio.run(change_under_load())
    finally:
        stop.set()
        asker.join()

    assert set(answers) == {200}
    assert len(answers) > 50
    assert said[1] == said[0].replace("before", "after")
    assert httpx.get(f"{hello.endpoint}/", timeout=60).json()["greeting"] == "two"


def test_a_startup_that_raises_leaves_the_old_version_serving(hello: App) -> None:
    before = httpx.get(f"{hello.endpoint}/", timeout=60).json()

    with pytest.raises(DeploymentError, match="startup exploded") as caught:
        flyte.serve(apps.broken)

    assert "sample_apps.py" in str(caught.value.__cause__.__cause__.__cause__)
    assert httpx.get(f"{hello.endpoint}/", timeout=60).json() == before
    failed = App.get("hello")
    assert failed.status is AppPhase.FAILED
    assert failed.info.error is not None
    flyte.serve(apps.hello)
    assert failed.status is AppPhase.ACTIVE


def test_a_replica_listens_on_loopback_alone(hello: App) -> None:
    replica = psutil.Process(httpx.get(f"{hello.endpoint}/", timeout=60).json()["pid"])

    assert {ip.removeprefix("::ffff:") for ip, _ in listening([replica])} == {"127.0.0.1"}


def test_a_killed_replica_is_replaced(hello: App) -> None:
    victim = httpx.get(f"{hello.endpoint}/", timeout=60).json()["pid"]

    psutil.Process(victim).kill()

    answer = eventually(lambda: _answer(hello))
    assert answer["pid"] != victim


def _answer(app: App) -> Any:
    try:
        answer = httpx.get(f"{app.endpoint}/", timeout=60)
    except httpx.RemoteProtocolError:  # it was with the only replica when that died
        return None
    return answer.json() if answer.status_code == 200 else None


def test_an_app_is_stopped_and_started_again(hello: App) -> None:
    hello.deactivate(wait=True)

    stopped = httpx.get(f"{hello.endpoint}/", timeout=60)
    assert stopped.status_code == 503
    assert "stopped" in stopped.text
    assert hello.is_deactivated()

    hello.activate(wait=True)
    assert httpx.get(f"{hello.endpoint}/", timeout=60).status_code == 200


def test_a_server_function_listens_on_a_port_of_its_own_whatever_it_declares(cluster: Any) -> None:
    app = flyte.serve(apps.plain)

    assert httpx.get(f"{app.endpoint}/", timeout=60).text == "plain"
    App.delete("plain")
    assert httpx.get(f"{app.endpoint}/", timeout=60).status_code == 404
    with pytest.raises(AppNotFoundError, match="plain"):
        App.get("plain")


def test_an_output_that_does_not_exist_is_named() -> None:
    env = FastAPIAppEnvironment(
        name="early",
        app=apps.api,
        parameters=[Parameter("m", value=RunOutput(type="object", task_name="no.task"))],
    )
    apps.early = env  # type: ignore[attr-defined]  # it must be a global of a module to be shipped

    with pytest.raises(ParameterMaterializationError, match=r"'m'.*no\.task"):
        flyte.serve(env)
    with pytest.raises(AppNotFoundError):
        App.get("early")


def test_only_app_environments_are_served() -> None:
    with pytest.raises(TypeError, match=r"flyteray\.run"):
        flyte.serve(sample_tasks.env)  # type: ignore[arg-type]


def test_apps_that_need_one_another_in_a_circle_are_refused_by_name() -> None:
    one, two = AppEnvironment(name="one"), AppEnvironment(name="two", scaling=Scaling(replicas=1))
    one.add_dependency(two)
    two.add_dependency(one)

    with pytest.raises(ValueError, match="one -> two -> one"):
        flyte.serve(one)
