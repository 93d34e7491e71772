"""Requests to the ingress deployment of a composition, all of which runs in this process. No Ray runs here."""

# Serve's classes of FastAPI need annotations that are no texts.

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from ray import serve
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from flyteray._serve.compositions.entry import Entry, EntryServer
from flyteray._serve.servers import ports
from flyteray._serve.servers.hosting import Hosting
from flyteray.errors import RuntimeUserError
from tests.waiting import eventually

api = FastAPI()


@serve.deployment
class Part:
    @serve.multiplexed(max_num_models_per_replica=1)
    async def load(self, model: str) -> str:
        return model.upper()

    async def __call__(self) -> str:
        return str(await self.load(serve.get_multiplexed_model_id()))


@serve.deployment
@serve.ingress(api)
class Front:
    made = 0

    def __init__(self, part: Any) -> None:
        type(self).made += 1
        self.part = part

    @api.get("/model")
    async def model(self) -> str:
        return str(await self.part.options(multiplexed_model_id=serve.get_multiplexed_model_id()).remote())

    @api.get("/of")
    async def of(self, request: Request) -> str:
        return f"{serve.get_replica_context().app_name} {request.url.path}"

    @api.websocket("/ws")
    async def echo(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())


@serve.deployment(max_ongoing_requests=1, max_queued_requests=1, backpressure_config={"retry_after_s": 2})
class Narrow:
    def __init__(self) -> None:
        self.entered, self.free, self.ended = threading.Event(), threading.Event(), False

    def __call__(self) -> str:
        self.entered.set()
        self.free.wait(30)
        return "done"


@serve.deployment(health_check_period_s=0.01, user_config={"level": 3})
class Moody:
    def __init__(self) -> None:
        self.ill = False
        self.level = 0

    def reconfigure(self, told: dict[str, int]) -> None:
        self.level = told["level"]

    def check_health(self) -> None:
        if self.ill:
            raise RuntimeError("I feel ill.")

    async def __call__(self, request: Request) -> dict[str, Any]:
        return {"level": self.level, "method": request.method, "body": (await request.body()).decode()}


@serve.deployment
class Batching:
    @serve.batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def together(self, words: list[str]) -> list[str]:
        return words

    async def __call__(self, request: Request) -> str:
        return str(await self.together("word"))


@serve.deployment
class Patient:
    """Notes how its work on requests ends."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def __call__(self, request: Request) -> Response:
        match request.url.path:
            case "/background":
                return Response("soon", background=BackgroundTask(self.later))
            case "/body":
                return Response(await request.body())
        await request.body()
        self.ended.append("begun")
        try:
            await asyncio.sleep(0.3 if request.url.path == "/short" else 30)
            self.ended.append("worked")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return Response("done")

    async def later(self) -> None:
        await asyncio.sleep(0.2)
        self.ended.append("later")


@serve.deployment
class Broken:
    def __init__(self) -> None:
        raise RuntimeError("It is broken.")

    def __call__(self) -> None: ...


@serve.deployment
def wrong(request: Request) -> None:
    raise ValueError("wrong")


def test_fastapi_s_classes_answer_and_are_made_once() -> None:
    with TestClient(Entry(Front.bind(Part.bind()), local=True)) as client:
        assert client.get("/model", headers={"serve_multiplexed_model_id": "a"}).json() == "A"
        assert client.get("/model", headers={"Serve-Multiplexed-Model-Id": "b"}).json() == "B"
        assert client.get("/of").json() == "local /of"
        with client.websocket_connect("/ws") as socket:
            socket.send_text("hi")
            assert socket.receive_text() == "hi"
        assert serve.get_replica_context().servable_object.made == 1


def test_a_plain_class_is_given_the_request_and_its_configuration() -> None:
    with TestClient(Entry(Moody.bind(), local=True)) as client:
        assert client.post("/", content="body").json() == {"level": 3, "method": "POST", "body": "body"}


def test_one_more_than_may_run_waits_and_one_more_than_may_wait_is_refused() -> None:
    entry = Entry(Narrow.bind(), local=True)
    with TestClient(entry) as client, ThreadPoolExecutor(2) as pool:
        narrow = serve.get_replica_context().servable_object
        answers = [pool.submit(client.get, "/")]
        narrow.entered.wait(30)
        answers.append(pool.submit(client.get, "/"))
        eventually(lambda: entry._queued == 1)

        refused = client.get("/")
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/"):
            pass
        narrow.free.set()

        assert [each.result().text for each in answers] == ["done", "done"]
    assert closed.value.code == 1013
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "All places of the deployment Narrow" in refused.json()["error"]


def test_a_failure_is_answered_with_500() -> None:
    with TestClient(Entry(wrong.bind(), local=True), raise_server_exceptions=False) as client:
        assert (client.get("/").status_code, client.get("/").text) == (500, "Internal Server Error")


def test_what_collects_batches_is_no_work_that_a_replica_waits_for_when_it_goes() -> None:
    async def main() -> str:
        server = EntryServer(Entry(Batching.bind(), local=True), ports.listening_socket("127.0.0.1"))
        hosting = Hosting(server, arguments={})
        await hosting.start()
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{server.port}/")
        await asyncio.wait_for(hosting.stop(60), 30)
        return answer.text

    assert asyncio.run(main()) == "word"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "headers", "ends"),
    [("/", {}, "cancelled"), ("/short", {"X-Request-Disconnect-Disabled": "?1"}, "worked")],
    ids=str,
)
def test_a_client_that_goes_away_takes_its_request_with_it_unless_it_says_otherwise(
    method: str, path: str, headers: dict[str, str], ends: str
) -> None:
    async def main(url: str, client: httpx.AsyncClient) -> None:
        body = b"x" * 10 if method == "POST" else None
        asking = asyncio.ensure_future(client.request(method, url + path, headers=headers, content=body))
        await asyncio.to_thread(eventually, lambda: ended() == ["begun"])
        asking.cancel()
        await asyncio.to_thread(eventually, lambda: ended() == ["begun", ends])

    asyncio.run(hosted(main))


def test_what_runs_after_an_answer_is_not_cancelled_and_bodies_arrive() -> None:
    async def main(url: str, client: httpx.AsyncClient) -> None:
        assert (await client.post(f"{url}/body", content=b"a" * 300_000)).text == "a" * 300_000
        assert (await client.get(f"{url}/body")).text == ""
        assert (await client.get(f"{url}/background")).text == "soon"
        await asyncio.to_thread(eventually, lambda: ended() == ["later"])

    asyncio.run(hosted(main))


def ended() -> list[str]:
    """What the object that is served has noted."""
    return list(serve.get_replica_context().servable_object.ended)


async def hosted(main: Callable[[str, httpx.AsyncClient], Awaitable[None]]) -> None:
    """Call a function with the address of a running server, and a client."""
    server = EntryServer(Entry(Patient.bind(), local=True), ports.listening_socket("127.0.0.1"))
    hosting = Hosting(server, arguments={})
    await hosting.start()
    async with httpx.AsyncClient() as client:
        await main(f"http://127.0.0.1:{server.port}", client)
    await asyncio.wait_for(hosting.stop(10), 30)


def test_three_failures_of_check_health_are_told_until_it_succeeds_again() -> None:
    entry = Entry(Moody.bind(), local=True)
    with TestClient(entry):
        moody = serve.get_replica_context().servable_object
        entry.check()
        moody.ill = True

        error = eventually(lambda: unwell(entry))
        assert "check_health of Moody has failed 3 times in a row: RuntimeError('I feel ill.')" in str(error)

        moody.ill = False
        eventually(lambda: unwell(entry) is None)


def unwell(entry: Entry) -> RuntimeUserError | None:
    try:
        entry.check()
    except RuntimeUserError as error:
        return error
    return None


def test_an_object_that_can_t_be_made_fails_the_start_with_the_user_s_error() -> None:
    with pytest.raises(RuntimeError, match="It is broken"), TestClient(Entry(Broken.bind(), local=True)):
        pass


def test_a_ray_that_has_moved_what_is_needed_is_told_of() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ray.serve._private.replica as replica; del replica.UserCallableWrapper; "
            "import sys; del sys.modules['ray.serve._private.local_testing_mode']; "
            "import flyteray._serve.compositions.internals",
        ],
        check=False,
        capture_output=True,
        text=True,
    ).stderr

    assert "ServeAppEnvironment needs what Ray 2" in told
    assert "It works with Ray 2.60" in told
