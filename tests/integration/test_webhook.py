"""A webhook on a cluster: what it is asked for happens."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment, FlyteWebhookAppEnvironment
from flyteray.remote import App
from tests.integration import sample_conditions as conditions
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

hooked = flyte.TaskEnvironment(name="hooked")
api = FastAPI()
echo = FastAPIAppEnvironment(name="hooked-echo", app=api)
webhook = FlyteWebhookAppEnvironment(name="hook")


@hooked.task(triggers=flyte.Trigger("yearly", flyte.Cron("@yearly"), inputs={"x": 1}, auto_activate=False))
def double(x: int, times: int = 1) -> tuple[int, type]:
    """Twice as much."""
    return 2 * x * times, int


@hooked.task
async def sleep() -> None:
    await asyncio.sleep(600)


@api.api_route("/said/{path}", methods=["GET", "POST"])
async def said(path: str, request: Request) -> dict[str, Any]:
    body = await request.body()
    credentials = request.headers.get("authorization")
    return {"path": path, "query": dict(request.query_params), "body": body.decode(), "by": credentials}


@api.get("/broken")
async def broken() -> None:
    raise HTTPException(418, "a teapot")


@pytest.fixture(scope="module")
def deployed(cluster: Any) -> None:
    flyte.deploy(hooked)


@pytest.fixture(scope="module")
def served(cluster: Any) -> Iterator[App]:
    yield flyte.serve(echo)
    App.delete(echo.name)


def ask(method: str, path: str, **options: Any) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(webhook.app)
        credentials = {"authorization": "Bearer me"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://hook", headers=credentials, timeout=60
        ) as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


def test_a_deployed_task_is_told_of_run_and_read(deployed: None) -> None:
    told = ask("GET", "/task/d/p/hooked.double").json()
    assert (told["name"], told["docs"]) == ("hooked.double", "Twice as much.")
    assert (told["required_args"], told["default_input_args"]) == (["x"], ["times"])

    started = ask("POST", "/run-task/d/p/hooked.double", json={"x": 4}).json()
    run = f"/run/{started['name']}"
    eventually(lambda: ask("GET", run).json()["done"])

    assert ask("GET", run).json() == {**started, "phase": "succeeded", "done": True}
    assert ask("GET", f"{run}/io").json()["outputs"] == {"o0": 8, "o1": "<class 'int'>"}


@pytest.mark.parametrize(
    ("path", "inputs", "status", "message"),
    [
        ("hooked.double", {"x": 1, "y": 2}, 400, "y"),
        ("hooked.double", {}, 400, "x"),
        ("hooked.double?version=none", {"x": 1}, 404, "none"),
        ("hooked.missing", {}, 404, "hooked.missing"),
    ],
)
def test_a_task_that_cannot_be_run_says_why(
    deployed: None, path: str, inputs: dict[str, Any], status: int, message: str
) -> None:
    refused = ask("POST", f"/run-task/d/p/{path}", json=inputs)

    assert (refused.status_code, message in refused.json()["detail"]) == (status, True)


class Listener(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def test_who_is_told_of_a_condition_answers_it(cluster: Any) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        server.told = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = flyte.run(conditions.tells, f"http://127.0.0.1:{server.server_port}/", webhook.name)
        told = eventually(lambda: server.told)[0]  # type: ignore[attr-defined]
        server.shutdown()

    path = urlsplit(told["answer"][0]).path.removeprefix(f"/{webhook.name}")
    assert told["text"] == "Who?"
    assert ask("POST", path.replace(run.name, "no-such-run"), json={"payload": "me"}).status_code == 404
    assert ask("POST", path.replace("/signal", "x/signal"), json={"payload": "me"}).status_code == 404
    assert ask("POST", path, json={"payload": 3}).status_code == 400
    answered = ask("POST", path, json={"payload": "me"}).json()
    assert (answered["name"], answered["state"]) == ("told", "signalled")
    assert run.outputs()[0] == "me"


def test_a_run_is_aborted(deployed: None) -> None:
    name = ask("POST", "/run-task/d/p/hooked.sleep", json={}).json()["name"]

    assert ask("GET", f"/run/{name}/io").json()["outputs"] is None
    aborted = ask("POST", f"/run/{name}/abort", params={"reason": "enough"}).json()

    assert aborted == {"name": name, "status": "abort_requested", "reason": "enough"}
    eventually(lambda: ask("GET", f"/run/{name}").json()["phase"] == "aborted")


def test_a_trigger_is_switched_on_and_off(deployed: None) -> None:
    on = ask("POST", "/trigger/hooked.double/yearly/activate").json()
    off = ask("POST", "/trigger/hooked.double/yearly/deactivate").json()

    assert (on["is_active"], on["next_time"][4:]) == (True, "-01-01T00:00:00Z")
    assert (off["is_active"], off["next_time"]) == (False, None)
    missing = ask("POST", "/trigger/hooked.double/yearli/activate")
    assert (missing.status_code, "'yearly'" in missing.json()["detail"]) == (404, True)


@pytest.mark.parametrize("path", ["/run/no-run", "/run/no-run/io", "/task/d/p/no.task", "/app/no-app"])
def test_what_there_is_not_is_not_found(path: str) -> None:
    missing = ask("GET", path)

    assert (missing.status_code, "no" in missing.json()["detail"]) == (404, True)


def test_an_app_is_called_with_the_callers_credentials(served: App) -> None:
    call = f"/app/{served.name}/call"

    answer = ask(
        "POST",
        f"{call}?path=/said/hello&method=post",
        json={"payload": {"a": 1}, "query_params": {"q": "x y"}},
    )

    assert answer.json() == {"path": "hello", "query": {"q": "x y"}, "body": '{"a":1}', "by": "Bearer me"}
    teapot = ask("POST", f"{call}?path=broken")
    assert (teapot.status_code, "a teapot" in teapot.json()["detail"]) == (418, True)
    assert ask("POST", f"{call}?path=docs").json()["response"].lstrip().startswith("<!DOCTYPE html>")


def test_an_app_is_stopped_and_started(served: App) -> None:
    stopped = ask("POST", f"/app/{served.name}/deactivate?wait=true").json()
    assert (stopped["is_active"], stopped["is_deactivated"]) == (False, True)

    ask("POST", f"/app/{served.name}/activate?wait=true")

    state = ask("GET", f"/app/{served.name}").json()
    assert (state["is_active"], state["revision"]) == (True, 1)


def test_an_image_that_is_there_already_is_built_at_once() -> None:
    built = ask("POST", "/build-image", json={"pip_packages": ["httpx"]}).json()

    assert built["pip_packages"] == ["httpx"]
