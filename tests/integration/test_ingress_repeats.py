"""How often a request is sent: at most once more, and only where it is safe; and its client always has an answer."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from tests.integration.ingress_servers import RawReplica, answered, replicas
from tests.integration.raw_http import http1, http2, read_answer
from tests.waiting import eventually

SAFE = ["GET", "HEAD", "OPTIONS"]
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


def fatal(request: bytes) -> bytes | None:
    """Ends without a word where the path says so."""
    return None if b"/fatal" in request.partition(b"\r\n")[0] else answered(b"fine")


@pytest.fixture
def five(ingress: Ingress) -> Iterator[list[RawReplica]]:
    """Five replicas of ``app``, which close the connection of whoever asks for ``/fatal``."""
    with ExitStack() as stack:
        made = [RawReplica(fatal) for _ in range(5)]
        for replica in made:
            stack.callback(replica.stop)
        slots = {number: replica.slot for number, replica in enumerate(made, start=1)}
        ingress.apply(IngressState({"app": 0}, {0: slots}))
        yield made


def reached(members: list[RawReplica], path: str = "/fatal") -> int:
    return sum(path.encode() in request for member in members for request in member.requests)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("method", "times"), [*((m, 2) for m in SAFE), *((m, 1) for m in UNSAFE)])
def test_a_request_whose_replica_ends_is_sent_once_more_at_most(
    ingress: Ingress, five: list[RawReplica], method: str, times: int, version: int
) -> None:
    if version == 1:
        request = f"{method} /app/fatal HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        answer = http1(ingress.port(), request, method=method)
    else:
        answer = http2(ingress.port(), [], method=method, path="/app/fatal")

    assert (answer.status, reached(five)) == (502, times)
    assert method == "HEAD" or "'app' broke the connection before it answered" in answer.text


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_request_with_a_body_is_sent_once(
    ingress: Ingress, five: list[RawReplica], method: str, framing: str, version: int
) -> None:
    if version == 2:
        headers = [("content-length", "1")] if framing == "length" else []
        answer = http2(ingress.port(), headers, b"x", method=method, path="/app/fatal")
    else:
        head = f"{method} /app/fatal HTTP/1.1\r\nHost: a\r\n".encode()
        body = (
            b"Content-Length: 1\r\n\r\nx"
            if framing == "length"
            else b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        )
        answer = http1(ingress.port(), head + body)

    assert (answer.status, reached(five)) == (502, 1)
    assert "'app' broke the connection" in answer.text


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("GET", 2), ("DELETE", 1)])
def test_an_answer_comes_also_on_connections_that_were_used_before(
    ingress: Ingress, five: list[RawReplica], method: str, times: int
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{ingress.port()}", timeout=60) as client:
        for _ in range(20):
            assert client.get("/app/").text == "fine"
        answer = client.request(method, "/app/fatal")
        again = client.get("/app/")

    assert (answer.status_code, reached(five)) == (502, times)
    assert "'app' broke the connection" in answer.text
    assert again.text == "fine"


def test_refused_connections_reached_nobody_and_cost_no_request(ingress: Ingress) -> None:
    with replicas("one", "two") as dead:
        gone = [each.slot for each in dead]
    alive = RawReplica()
    for method in ("GET", "POST"):
        slots = dict(enumerate([*gone, alive.slot], start=1))
        ingress.apply(IngressState({"app": 0}, {0: slots}))
        statuses = [
            httpx.request(method, f"http://127.0.0.1:{ingress.port()}/app/", timeout=60).status_code
            for _ in range(5)
        ]
        assert statuses == [200] * 5
        ingress.apply(IngressState({"app": 0}, {}))
    alive.stop()


def test_what_waited_for_a_replica_is_sent_once_more_as_well(ingress: Ingress) -> None:
    """The activator hands on what has not reached an app yet: that is no repetition."""
    asleep = IngressState({"app": 0}, waits={"app": 60_000})
    ingress.apply(asleep)
    with httpx.Client(timeout=60) as client, ExitStack() as stack:
        made = [RawReplica(fatal) for _ in range(3)]
        for replica in made:
            stack.callback(replica.stop)
        slots = {number: replica.slot for number, replica in enumerate(made, start=1)}
        waking: list[Any] = []

        def wake() -> None:
            eventually(lambda: ingress.traffic([0])[0][0] == 1)
            ingress.apply(IngressState({"app": 0}, {0: slots}, waits={"app": 60_000}))
            waking.append(True)

        thread = threading.Thread(target=wake)
        thread.start()
        answer = client.get(f"http://127.0.0.1:{ingress.port()}/app/fatal")
        thread.join()

    assert waking == [True]
    assert (answer.status_code, reached(made)) == (502, 2)


def test_a_replica_that_takes_too_long_is_not_one_that_ended(
    ingress: Ingress,
) -> None:
    with replicas("slow") as [slow]:
        ingress.apply(IngressState({"app": 0}, {0: {1: slow.slot}}, timeouts={"app": 300}))
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"http://127.0.0.1:{ingress.port()}/app/slow", timeout=60)
            assert (answer.status_code, "within the 300 ms" in answer.text) == (504, True)
        assert slow.requests == 2


def test_a_connection_that_is_reset_is_answered_too(ingress: Ingress) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def reset() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if connection.recv(1 << 16):
                seen.append(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=reset, daemon=True).start()
    ingress.apply(IngressState({"app": 0}, {0: {1: Slot(*listener.getsockname())}}))
    with socket.create_connection(("127.0.0.1", ingress.port()), timeout=60) as client:
        client.sendall(b"POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        answer = read_answer(client)
    listener.close()

    assert (answer.status, len(seen)) == (502, 1)
    assert "'app' broke the connection" in answer.text
