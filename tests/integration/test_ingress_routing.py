"""What a client and a replica see of each other through the ingress."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import BrokenReplica, Replica, replicas
from tests.waiting import eventually


@pytest.fixture(scope="module")
def replica(ingress: Ingress) -> Iterator[Replica]:
    with replicas("r1") as [replica]:
        yield replica


@pytest.fixture(autouse=True)
def hello(ingress: Ingress, replica: Replica) -> None:
    """``hello`` with a replica, ``halted`` which is stopped, ``first`` which comes up, ``empty`` without a replica."""
    replica.go_on.clear()
    apps = {"hello": 5, "halted": None, "first": None, "empty": 6}
    ingress.apply(IngressState(apps, {5: {3: replica.slot}}, coming=frozenset({"first"})))


@pytest.fixture
def client(ingress: Ingress) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{ingress.port()}", timeout=60) as client:
        yield client


def seen(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("host", ["hello.localhost", "HELLO.LocalHost", "hello.localhost:4000"])
def test_a_host_leads_to_its_app_with_the_path_as_it_is(client: httpx.Client, host: str) -> None:
    arrived = seen(client.get("/hello/there?q=1&r=a%20b", headers={"Host": host}))

    assert (arrived["path"], arrived["query"]) == ("/hello/there", "q=1&r=a%20b")
    assert arrived["headers"]["host"] == host
    assert arrived["headers"]["x-forwarded-host"] == host
    assert "x-forwarded-prefix" not in arrived["headers"]


@pytest.mark.parametrize(
    ("asked", "location"),
    [("/hello", "/hello/"), ("/hello?q=1&r=%20", "/hello/?q=1&r=%20"), ("/hello?", "/hello/")],
)
def test_a_browser_is_led_to_the_folder_that_an_app_is_in(
    client: httpx.Client, asked: str, location: str
) -> None:
    page = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    led = client.get(asked, headers=page)

    assert (led.status_code, led.headers["location"]) == (302, location)
    assert seen(client.get(location, headers=page))["path"] == "/"
    assert seen(client.post(asked, headers=page))["path"] == "/"
    assert seen(client.get(asked, headers={**page, "host": "hello.localhost"}))["path"] == "/hello"


@pytest.mark.parametrize(
    ("asked", "path", "query"),
    [
        ("/hello", "/", ""),
        ("/hello/", "/", ""),
        ("/hello?q=1", "/", "q=1"),
        ("/hello/a/b/?q=/x/y", "/a/b/", "q=/x/y"),
        ("/hello//a%2Fb", "//a%2Fb", ""),
        ("/hello/hello", "/hello", ""),
    ],
)
def test_a_path_leads_to_its_app_without_the_prefix(
    client: httpx.Client, asked: str, path: str, query: str
) -> None:
    arrived = seen(client.get(asked))

    assert (arrived["path"], arrived["query"]) == (path, query)
    assert arrived["headers"]["x-forwarded-prefix"] == "/hello"


def test_a_client_cannot_forge_what_the_ingress_says_of_it(client: httpx.Client, ingress: Ingress) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-User": "root",
        "X_Forwarded_For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Flyteray-App": "other",
        "X-Mine": "kept",
    }

    headers = seen(client.get("/hello/", headers={**forged, "X-Flyteray-Replica": "b0-s1"}))["headers"]

    assert headers.pop("x-flyteray-replica").startswith("s")
    assert {name: value for name, value in headers.items() if "f" in name and name != "user-agent"} == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": f"127.0.0.1:{ingress.port()}",
        "x-forwarded-prefix": "/hello",
    }
    assert headers["x-mine"] == "kept"


@pytest.mark.parametrize(
    ("path", "host", "status", "words"),
    [
        ("/nope/x", "localhost", 404, ["'nope'", "flyteray get app"]),
        ("/hello", "nope.localhost", 404, ["'nope'", "flyteray get app"]),
        ("/hello", "a.hello.localhost", 404, ["'a.hello'"]),
        ("/hellooo", "localhost", 404, ["'hellooo'"]),
        ("/", "localhost", 404, ["names no app", "flyteray get app"]),
        ("/halted/x", "localhost", 503, ["'halted' is stopped", "flyteray serve"]),
        ("/", "halted.localhost", 503, ["'halted' is stopped", "flyteray serve"]),
        ("/first/", "localhost", 503, ["'first' has no replica ready", "flyteray get app first"]),
        ("/empty", "localhost", 503, ["'empty' has no replica ready", "flyteray get app empty"]),
    ],
)
def test_what_cannot_be_served_is_said_in_plain_words(
    client: httpx.Client, path: str, host: str, status: int, words: list[str]
) -> None:
    response = client.get(path, headers={"Host": host})

    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/plain")
    assert all(word in response.text for word in words), response.text


def test_a_large_body_arrives_whole(client: httpx.Client) -> None:
    body = "x" * 3_000_000

    assert seen(client.post("/hello/", content=body))["body"] == body


def test_a_streamed_answer_arrives_line_by_line(client: httpx.Client, replica: Replica) -> None:
    with client.stream("GET", "/hello/stream") as response:
        lines = response.iter_lines()
        for number in range(3):
            replica.go_on.set()  # the next line is not written before this one was read

            assert next(lines) == f"line {number}"


def test_a_replica_learns_that_its_client_left(ingress: Ingress, replica: Replica) -> None:
    before = replica.left
    with socket.create_connection(("127.0.0.1", ingress.port())) as client:
        client.sendall(b"GET /hello/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: ingress.sessions([5]) == {5: 1})

    eventually(lambda: replica.left == before + 1)


@pytest.mark.parametrize("address", ["127.0.0.1:{}/hello/ws/x", "hello.localhost:{}/ws/x"])
def test_a_websocket_passes_by_path_and_by_host(ingress: Ingress, address: str) -> None:
    with (
        socket.create_connection(("127.0.0.1", ingress.port())) as raw,
        connect(f"ws://{address.format(ingress.port())}", sock=raw, proxy=None) as websocket,
    ):
        websocket.send("hi")

        assert [websocket.recv(), websocket.recv()] == ["r1 /ws/x", "r1 hi"]
        eventually(lambda: ingress.sessions([5, 6]) == {5: 1, 6: 0})


def test_a_request_goes_to_another_replica_when_one_breaks_the_connection(
    client: httpx.Client, ingress: Ingress, replica: Replica
) -> None:
    broken = BrokenReplica()
    ingress.apply(IngressState({"hello": 5}, {5: {1: broken.slot, 2: replica.slot}}))

    answers = [client.get("/hello/").status_code for _ in range(10)]
    broken.stop()

    assert answers == [200] * 10
    assert broken.requests > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_may_have_acted_is_not_sent_twice(
    client: httpx.Client, ingress: Ingress, method: str
) -> None:
    broken = BrokenReplica()
    ingress.apply(IngressState({"hello": 5}, {5: {1: broken.slot}}))

    response = client.request(method, "/hello/")
    broken.stop()

    assert (response.status_code, broken.requests) == (502, 1)
    assert "'hello' broke the connection" in response.text


def test_requests_go_on_when_a_replica_is_gone_before_anybody_said_so(
    client: httpx.Client, ingress: Ingress, replica: Replica
) -> None:
    with replicas("dead") as [dead]:
        ingress.apply(IngressState({"hello": 5}, {5: {1: dead.slot, 2: replica.slot}}))
        assert {seen(client.get("/hello/"))["replica"] for _ in range(4)} == {"dead", "r1"}

    assert [seen(client.post("/hello/"))["replica"] for _ in range(10)] == ["r1"] * 10


def test_two_ingresses_stand_side_by_side(client: httpx.Client, replica: Replica, tmp_path: Path) -> None:
    other = Ingress(tmp_path, watched=os.getpid())
    try:
        other.apply(IngressState({"only-there": 0}, {0: {1: replica.slot}}))

        assert httpx.get(f"http://127.0.0.1:{other.port()}/only-there/", timeout=60).status_code == 200
        assert client.get("/only-there/").status_code == 404
        assert client.get("/hello/").status_code == 200
    finally:
        other.stop()
