"""Whom the ingress answers: hosts that somebody named, pages of the app's own host, clients that keep a pace."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import RawReplica, Replica, answered, replicas
from tests.integration.raw_http import Answer, http1, http2, read_answer
from tests.waiting import eventually

KEY = "flyteray_of-the_tests"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def raw() -> Iterator[RawReplica]:
    raw = RawReplica(lambda request: answered(b"x" * 20_000_000) if b"/large" in request else answered(b"ok"))
    yield raw
    raw.stop()


@pytest.fixture(scope="module")
def echoing() -> Iterator[Replica]:
    with replicas("one") as [replica]:
        yield replica


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strangers")


@pytest.fixture(scope="module")
def state(raw: RawReplica, echoing: Replica) -> IngressState:
    return IngressState(
        {"app": 0, "closed": 0, "ws": 1, "wide": 1, "free": 1},
        {0: {1: raw.slot}, 1: {1: echoing.slot}},
        {"models.example.org": "app"},
        private=frozenset({"closed"}),
        keys={key_digest(KEY): Grant("ann")},
        origins={"wide": frozenset({"https://page.example", "null"}), "free": frozenset({"*"})},
    )


@pytest.fixture(scope="module")
def strict(folder: Path, state: IngressState) -> Iterator[Ingress]:
    ingress = Ingress(folder, watched=os.getpid(), allowed_hosts=("named.example", "*.corp.example"))
    ingress.apply(state)
    yield ingress
    ingress.stop()


def ask(ingress: Ingress, host: str, path: str = "/app/", headers: str = "", method: str = "GET") -> Answer:
    lines = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"
    return http1(ingress.port(), lines.encode("latin-1"), method=method)


ANSWERED = [
    *(
        "localhost",
        "localhost:8080",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8080",
        "127.8.9.1",
    ),
    *("10.1.2.3", "[2001:db8::1]:80", socket.gethostname(), socket.gethostname().upper(), "named.example"),
    *("NAMED.example:8443", "a.corp.example", "a.b.corp.example"),
]
REFUSED = [
    *(
        "evil.example",
        "evil.example:80",
        "rebind.localhost.evil.example",
        "named.example.evil.example",
        "corp.example",
    ),
    *(
        "xcorp.example",
        "a.named.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "app",
    ),
    *(
        "127.0.0.1.",
        "evil",
        "metadata.google.internal",
        "10.1.2.3.evil.example",
        "1.2.3.4.5",
        "::1",
        "0x7f.1",
    ),
]


@pytest.mark.parametrize("host", ANSWERED)
def test_hosts_that_somebody_named_and_addresses_are_answered_to(strict: Ingress, host: str) -> None:
    assert ask(strict, host).status == 200


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("host", REFUSED)
def test_hosts_that_nobody_named_are_not(strict: Ingress, raw: RawReplica, host: str, version: int) -> None:
    before = len(raw.requests)
    if version == 2:
        answer = http2(strict.port(), [("accept", "application/json")], path="/app/", authority=host)
    else:
        answer = ask(strict, host, headers="Accept: application/json\r\n")

    assert answer.status in (400, 421)  # what is no host at all is no HTTP
    if answer.status == 421:
        assert "which nobody has named" in json.loads(answer.body)["error"]
        assert "FLYTERAY_ALLOWED_HOSTS" in answer.text
    assert len(raw.requests) == before


def test_an_app_that_asks_for_a_key_or_has_the_host_is_reached_by_it(strict: Ingress) -> None:
    bearer = f"Authorization: Bearer {KEY}\r\n"

    assert ask(strict, "evil.example", "/closed/", bearer).status == 200
    assert ask(strict, "evil.example", "/closed/").status == 401
    assert ask(strict, "models.example.org", "/x").status == 200
    assert ask(strict, "app.localhost", "/x").status == 200
    assert http1(strict.port(), b"GET /app/ HTTP/1.0\r\n\r\n").status == 200  # no browser sends no host


def test_all_hosts_are_answered_to_where_that_is_asked_for(state: IngressState, tmp_path: Path) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), allowed_hosts=("*",))
    try:
        ingress.apply(state)
        assert ask(ingress, "evil.example").status == 200
    finally:
        ingress.stop()


@pytest.mark.parametrize("path", ["/app/", "/closed/", "/nope/", "/", "*"])
@pytest.mark.parametrize("version", [1, 2])
def test_trace_is_refused(strict: Ingress, raw: RawReplica, path: str, version: int) -> None:
    before = len(raw.requests)
    if version == 2:
        answer = http2(strict.port(), [("cookie", "secret")], method="TRACE", path=path)
    else:
        answer = ask(strict, "localhost", path, "Cookie: secret\r\n", "TRACE")

    assert answer.status in (400, 405)
    assert "secret" not in answer.text
    assert len(raw.requests) == before


@pytest.mark.parametrize(
    ("path", "host", "origin", "status"),
    [
        ("/ws/", "localhost:1", None, 101),
        ("/ws/", "localhost:1", "http://localhost:1", 101),
        ("/ws/", "localhost:1", "http://localhost:3000", 101),  # another port of the same host
        ("/ws/", "localhost:1", "https://LOCALHOST", 101),
        ("/ws/", "127.0.0.1:1", "http://127.0.0.1:1", 101),
        ("/ws/", "[::1]:1", "http://[::1]:1", 101),
        ("/", "ws.localhost", "http://ws.localhost", 101),
        ("/", "ws.localhost", "http://other.localhost", 403),
        ("/ws/", "localhost:1", "http://127.0.0.1:1", 403),
        ("/ws/", "localhost:1", "https://evil.example", 403),
        ("/ws/", "localhost:1", "https://localhost.evil.example", 403),
        ("/ws/", "localhost:1", "https://evil.example/localhost", 403),
        ("/ws/", "localhost:1", "https://localhost@evil.example", 403),
        ("/ws/", "localhost:1", "null", 403),
        ("/ws/", "localhost:1", "file://", 403),
        ("/ws/", "localhost:1", "localhost", 403),
        ("/wide/", "localhost:1", "https://page.example", 101),
        ("/wide/", "localhost:1", "null", 101),
        ("/wide/", "localhost:1", "http://page.example", 403),
        ("/wide/", "localhost:1", "https://page.example:8443", 403),
        ("/wide/", "localhost:1", "*", 403),
        ("/free/", "localhost:1", "https://evil.example", 101),
    ],
)
def test_websockets_are_for_pages_of_the_same_host_and_those_that_the_app_names(
    strict: Ingress, path: str, host: str, origin: str | None, status: int
) -> None:
    said = f"Origin: {origin}\r\n" if origin else ""
    answer = ask(strict, host, path, UPGRADE + said)

    assert answer.status == status, answer.text
    if status == 403:
        assert "takes WebSockets from pages of its own host" in answer.text
        assert "allowed_origins" in answer.text


def test_other_requests_of_foreign_pages_are_the_apps_own_business(strict: Ingress) -> None:
    assert ask(strict, "localhost", "/app/", "Origin: https://evil.example\r\n").status == 200


def test_which_pages_may_changes_while_the_app_serves(strict: Ingress, state: IngressState) -> None:
    def status() -> int:
        return ask(strict, "localhost", "/ws/", f"{UPGRADE}Origin: https://page.example\r\n").status

    before = status()
    strict.apply(replace(state, origins={"ws": frozenset({"https://page.example"})}))
    meanwhile = status()
    strict.apply(state)

    assert (before, meanwhile, status()) == (403, 101, 403)


@contextlib.contextmanager
def sent(ingress: Ingress, *parts: bytes) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", ingress.port()))
        for part in parts:
            client.sendall(part)
        yield client


def test_who_closes_his_side_has_left_and_is_told_so_if_he_listens(strict: Ingress) -> None:
    before = strict.traffic([1])[1][1]
    with sent(strict, b"GET /ws/slow HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        eventually(lambda: strict.traffic([1])[1][1] > before)  # sooner he may get nothing at all
        client.shutdown(socket.SHUT_WR)
        answer = read_answer(client)

    assert answer.status == 400
    assert "keep it open until the answer has come" in answer.text


@pytest.mark.parametrize(
    "request_", [b"GET /ws/slow HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /ws/slow HTTP/1.0\r\n\r\n"]
)
def test_where_that_is_asked_for_he_gets_his_answer(
    state: IngressState, echoing: Replica, tmp_path: Path, request_: bytes
) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), half_closed=True)
    try:
        ingress.apply(state)
        with sent(ingress, request_) as client, ThreadPoolExecutor(1) as pool:
            client.shutdown(socket.SHUT_WR)
            eventually(lambda: ingress.traffic([1])[1][0] == 1)
            answering = pool.submit(read_answer, client)
            eventually(
                lambda: echoing.go_on.set() or answering.done()
            )  # requests that were left may take one
            answer = answering.result()
    finally:
        echoing.go_on.clear()
        ingress.stop()

    assert (answer.status, json.loads(answer.body)["replica"]) == (200, "one")


def test_he_gets_it_however_soon_he_closes_it(state: IngressState, tmp_path: Path) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), half_closed=True)
    statuses = []
    try:
        ingress.apply(state)
        for _ in range(100):
            with sent(ingress, b"GET /app/ HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
                client.shutdown(socket.SHUT_WR)
                statuses.append(read_answer(client).status)
    finally:
        ingress.stop()

    assert statuses == [200] * 100


def test_bodies_that_do_not_go_on_are_known_and_ended_and_nothing_else_is(
    strict: Ingress, folder: Path, echoing: Replica
) -> None:
    get = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    post = b"POST /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n%s"
    with contextlib.ExitStack() as opened:
        slow = [
            opened.enter_context(sent(strict, request))
            for request in (
                post % (b"app/", b"Content-Length: 100000", b"abc"),
                post % (b"ws/", b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
            )
        ]
        fine = [
            opened.enter_context(sent(strict, request))
            for request in (
                get % (b"/ws/slow", b""),
                get % (b"/ws/stream", b""),
                get % (b"/app/large", b""),
                get % (b"/ws/", UPGRADE.encode()),
                b"",
            )
        ]
        with Conversation(folder) as haproxy:
            awaited = eventually(lambda: found if len(found := haproxy.awaited(0)) == 2 else None)
            slow[0].sendall(b"x" * 1000)
            eventually(lambda: max(haproxy.awaited(0).values()) > 1000)
            assert haproxy.awaited() == {}  # they are too young
            haproxy.end([f"{name}0" for name in awaited])  # others have these addresses by now
            assert haproxy.awaited(0).keys() == awaited.keys()
            haproxy.end(awaited)
            eventually(lambda: haproxy.awaited(0) == {})
        assert ["less than 240 bytes a second" in read_answer(client).text for client in slow] == [True, True]
        echoing.go_on.set()
        eventually(lambda: not echoing.go_on.is_set())
        assert read_answer(fine[3]).status == 101
        fine[4].sendall(get % (b"/app/", b""))
        assert read_answer(fine[4]).status == 200
