"""Requests are copied for a version whose answers nobody gets, and whose troubles nobody notices."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.copies.rules import MOST_OPEN
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import Copying, IngressState, Slot
from flyteray._plan.credentials import key_digest
from flyteray._plan.traffic.shadow import Compared
from tests.integration.ingress_servers import RawReplica, Replica, answered, replicas
from tests.integration.raw_http import http1, read_answer
from tests.waiting import eventually

LIVE, SHADOW = 0, 1
NAME = "s1"
_BUFFERS = ("buffer", "trash")
KEY = "flyteray_of-the_tests"


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path, watched=os.getpid())
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def live() -> Iterator[Replica]:
    with replicas("live") as [replica]:
        yield replica


@contextmanager
def shadowed(
    ingress: Ingress,
    live: Replica,
    answer: Callable[[bytes], bytes | None] | None = None,
    parts: int = 10_000,
    **fields: Any,
) -> Iterator[RawReplica]:
    """An app with a shadow, which keeps what it gets."""
    shadow = RawReplica(answer)
    ingress.apply(state(live, shadow.slot, parts, **fields))
    try:
        yield shadow
    finally:
        shadow.stop()


def state(live: Replica, shadow: Slot | None, parts: int = 10_000, **fields: Any) -> IngressState:
    safe_only = fields.pop("safe_only", False)
    return IngressState(
        {"app": LIVE, "other": LIVE},
        {LIVE: {1: live.slot}, SHADOW: {1: shadow} if shadow else {}},
        owners={LIVE: "app", SHADOW: "app"},
        shadows={"app": Copying(NAME, SHADOW, LIVE, parts, safe_only)},
        **fields,
    )


def ask(ingress: Ingress, path: str = "/app/", method: str = "GET", **options: Any) -> httpx.Response:
    answer = httpx.request(method, f"http://127.0.0.1:{ingress.port()}{path}", timeout=60, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-replica"] == "live"
    return answer


def ask_often(ingress: Ingress, count: int, path: str = "/app/") -> list[float]:
    """Seconds that each of so many requests took, one after the other."""
    took = []
    with httpx.Client(timeout=60) as client:
        for _ in range(count):
            began = time.monotonic()
            answer = client.get(f"http://127.0.0.1:{ingress.port()}{path}")
            took.append(time.monotonic() - began)
            assert (answer.status_code, answer.headers["x-replica"]) == (200, "live")
    return took


def compared(ingress: Ingress, holds: Callable[[Compared], bool]) -> Compared:
    """What came of copies, once that holds."""

    last = [Compared()]

    def found() -> bool:
        last[0] = ingress.seen.compared([NAME])[NAME]
        return holds(last[0])

    try:
        eventually(found, timeout=30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0]}") from None
    return last[0]


def copies(shadow: RawReplica, count: int) -> list[bytes]:
    eventually(lambda: len(shadow.requests) >= count, timeout=30)
    assert len(shadow.requests) == count
    return shadow.requests


def test_a_copy_is_what_the_live_version_got(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live) as shadow:
        sent = {"X-Mine": "a", "Cookie": "b=c", "X-Request-Id": "one-of-mine", "X-Flyteray-Shadow": "no"}
        answer = ask(ingress, "/app/deep/p%C3%A4th?q=1&r=%20", "PUT", content=b"body\r\n\0", headers=sent)
        got = answer.json()

        [copy] = copies(shadow, 1)
        head, _, body = copy.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert first == "PUT /deep/p%C3%A4th?q=1&r=%20 HTTP/1.1"
        assert body == b"body\r\n\0"
        assert headers.pop("x-flyteray-shadow") == "1"
        assert "x-flyteray-shadow" not in got["headers"]
        kept = {name: value.lower() for name, value in got["headers"].items()}
        assert headers == {**kept, "x-flyteray-replica": "s1"}
        assert headers["x-request-id"] == "one-of-mine"
        assert headers["x-forwarded-prefix"] == "/app"


@pytest.mark.parametrize("forwards", [False, True])
def test_a_copy_has_no_key_and_nothing_that_a_browser_signs_in_with(
    ingress: Ingress, live: Replica, forwards: bool
) -> None:
    apps = frozenset({"app"})
    asks = {
        "private": apps,
        "keys": {key_digest(KEY): Grant("ann")},
        "forwards": apps if forwards else frozenset(),
    }
    with shadowed(ingress, live, **asks) as shadow:
        headers = {"Authorization": f"Bearer {KEY}", "Cookie": "a=b; flyteray-login=x.y"}
        got = ask(ingress, headers=headers).json()["headers"]

        assert ("authorization" in got) is forwards
        [copy] = copies(shadow, 1)
        text = copy.decode().lower()
        assert "authorization" not in text
        assert "cookie: a=b\r\n" in text
        assert "x-flyteray-user: ann" in text
        assert KEY not in text


def test_what_is_not_a_key_of_ours_is_copied(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live) as shadow:
        ask(ingress, headers={"Authorization": "Basic YTpi"})
        assert b"uthorization: Basic YTpi\r\n" in copies(shadow, 1)[0]


def test_a_share_of_the_requests_is_copied(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live, parts=2_000) as shadow:
        ask_often(ingress, 600)
        ask_often(ingress, 50, "/other/")

        def are_all_compared(now: Compared) -> bool:
            return 0 < max(now.copied, len(shadow.requests)) <= now.shadow.requests + ingress.unseen()

        found = compared(ingress, are_all_compared)
        assert 60 < len(shadow.requests) < 180  # a binomial of 120, give or take six deviations
        assert found.live.requests == found.shadow.requests <= found.copied <= len(shadow.requests)
        figures = ingress.seen.figures([SHADOW])[SHADOW]
        assert found.shadow.requests <= figures.requests <= len(shadow.requests)


def test_statuses_and_latencies_are_compared(ingress: Ingress, live: Replica) -> None:
    def answer(request: bytes) -> bytes:
        time.sleep(0.05)
        return answered(b"x" * 200_000, status="500 Oh" if b"/bad" in request else "200 OK")

    with shadowed(ingress, live, answer) as shadow:
        for path in ("/app/good", "/app/bad", "/app/good"):
            ask(ingress, path, "POST", json={"a": 1})
        found = compared(ingress, lambda now: now.shadow.requests == 3)
        assert (found.copied, found.left_out, found.otherwise) == (3, {}, {"500 200": 1})
        assert (found.live.classes, found.shadow.classes) == ((0, 3, 0, 0, 0), (0, 2, 0, 0, 1))
        slow, quick = found.shadow.quantile(0.5), found.live.quantile(0.5)
        assert slow is not None
        assert quick is not None
        assert slow > 0.045
        assert slow > quick
        assert len(shadow.requests) == 3


def test_a_shadow_that_hangs_is_not_noticed_and_gets_no_more_than_it_can_hold(
    ingress: Ingress, live: Replica
) -> None:
    over = threading.Event()

    def answer(_: bytes) -> None:
        over.wait(60)

    with shadowed(ingress, live, answer) as shadow:
        calm = sorted(ask_often(ingress, 100, "/other/"))
        took = sorted(ask_often(ingress, 200))
        found = compared(ingress, lambda now: now.chosen == 200)
        assert found.copied == MOST_OPEN
        assert found.left_out == {"many": 200 - MOST_OPEN}
        assert len(shadow.requests) == MOST_OPEN
        assert took[100] < calm[50] + 0.02
        over.set()
        # each of them has ended, which is an error of the shadow's
        compared(ingress, lambda now: now.otherwise.get("502 200") == MOST_OPEN)
        ask_often(ingress, 1)
        compared(ingress, lambda now: now.copied == MOST_OPEN + 1)


def test_no_memory_is_kept_of_copies_that_have_ended(tmp_path: Path, ingress: Ingress, live: Replica) -> None:
    def kept() -> int:
        """Bytes that HAProxy has for anything but the buffers of what is open."""
        with Conversation(tmp_path) as haproxy:
            told = haproxy.ask("show pools")
        pools = re.findall(r"Pool (\S+) \((\d+) bytes\).*, (\d+) used \(~(\d+) by thread caches\)", told)
        assert pools, told
        return sum(
            int(size) * (int(used) - int(spare)) for name, size, used, spare in pools if name not in _BUFFERS
        )

    def copied(count: int) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ask_often(ingress, count // 4), range(4)))
        # the lines of some may be left out where the machine is busy
        compared(ingress, lambda now: now.shadow.requests > now.copied - 10)

    with shadowed(ingress, live):
        copied(400)
        before = kept()
        copied(2_000)
        assert kept() - before < 2_000 * 10


@pytest.mark.parametrize("trouble", ["refuses", "breaks", "no HTTP"])
def test_a_shadow_in_trouble_is_not_noticed(ingress: Ingress, live: Replica, trouble: str) -> None:
    def answer(_: bytes) -> bytes | None:
        return b"no HTTP\r\n\r\n" if trouble == "no HTTP" else None

    with shadowed(ingress, live, answer) as shadow:
        if trouble == "refuses":
            shadow.stop()
        ask_often(ingress, 20)
        found = compared(ingress, lambda now: now.shadow.requests + ingress.unseen() >= 20)
        assert found.shadow.errors == found.shadow.requests <= 20
        assert (found.live.errors, found.live.requests) == (0, found.shadow.requests)
        assert sum(found.otherwise.values()) == found.shadow.requests


def test_the_limits_of_a_shadow_are_its_own(ingress: Ingress, live: Replica) -> None:
    over = threading.Event()

    def answer(request: bytes) -> bytes:
        over.wait(60)
        return answered(b"")

    with shadowed(ingress, live, answer, crowds={SHADOW: Crowd(1, 1)}):
        ask_often(ingress, 10)
        compared(ingress, lambda now: now.copied == 10 and "429 200" in now.otherwise)
        over.set()
        compared(ingress, lambda now: now.shadow.requests == 10)


def test_what_can_not_be_copied_is_counted(ingress: Ingress, live: Replica) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        time.sleep(0.3)
        yield b"second"

    with shadowed(ingress, live) as shadow:
        with connect(f"ws://127.0.0.1:{ingress.port()}/app/ws", proxy=None) as websocket:
            websocket.send("hi")
            assert websocket.recv() == "live /ws"
        ask(ingress, headers={"Accept": "text/event-stream"})
        compared(ingress, lambda now: now.left_out == {"kind": 2})
        large = ask(ingress, method="POST", content=b"x" * 3_000_000)
        assert len(large.json()["body"]) == 3_000_000
        assert ask(ingress, method="POST", content=chunks()).json()["body"] == "firstsecond"
        compared(ingress, lambda now: now.left_out == {"kind": 2, "large": 2})
        assert shadow.requests == []


def test_a_body_is_waited_for_however_slowly_it_comes(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live) as shadow, socket.create_connection(("127.0.0.1", ingress.port())) as client:
        client.sendall(
            b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n01234"
        )
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        before = live.requests
        ask(ingress, "/other/")
        assert live.requests == before + 1
        client.sendall(b"56789")
        answer = read_answer(client)
        assert (answer.status, json.loads(answer.body)["body"]) == (200, "0123456789")
        assert copies(shadow, 1)[0].endswith(b"\r\n\r\n0123456789")


def test_a_client_that_leaves_while_its_body_is_waited_for_is_not_copied(
    ingress: Ingress, live: Replica
) -> None:
    with shadowed(ingress, live) as shadow:
        with socket.create_connection(("127.0.0.1", ingress.port())) as client:
            client.sendall(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234")
        ask(ingress)
        assert copies(shadow, 1)[0].startswith(b"GET ")


@pytest.mark.parametrize("size", [1, 10_000, 65_536, 65_537])
def test_bodies_up_to_64_kib_are_copied_however_they_come(ingress: Ingress, live: Replica, size: int) -> None:
    head = f"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()
    body = os.urandom(size // 2 + 1).hex().encode()[:size]
    with shadowed(ingress, live) as shadow:
        answer = http1(ingress.port(), head, body)
        assert answer.status == 200
        assert json.loads(answer.body)["body"] == body.decode()
        if size > 65_536:
            compared(ingress, lambda now: now.left_out == {"large": 1})
        else:
            assert copies(shadow, 1)[0].partition(b"\r\n\r\n")[2] == body


def test_only_safe_methods_are_copied_where_that_is_asked_for(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live, safe_only=True) as shadow:
        for method in ("POST", "PUT", "DELETE", "PATCH", "GET", "HEAD", "OPTIONS"):
            ask(ingress, method=method)
        assert {copy.split(b" ")[0] for copy in copies(shadow, 3)} == {b"GET", b"HEAD", b"OPTIONS"}
        compared(ingress, lambda now: now.chosen == 3)


def test_a_copy_waits_for_a_shadow_that_sleeps_and_is_nobody_elses(ingress: Ingress, live: Replica) -> None:
    ingress.apply(state(live, None, waits={"app": 60_000}))
    before = live.requests
    ask_often(ingress, 3)
    ask(ingress, method="POST", content=b"x")
    eventually(lambda: ingress.traffic([SHADOW])[SHADOW][0] == 4)
    assert live.requests == before + 4
    # the live version is another one by now
    with shadowed(ingress, live, waits={"app": 60_000}) as shadow:
        copies(shadow, 4)
        compared(ingress, lambda now: now.shadow.requests == 4 and not now.otherwise)
        assert live.requests == before + 4


def test_a_version_with_a_share_is_not_copied_from(ingress: Ingress, live: Replica) -> None:
    with shadowed(ingress, live) as shadow, replicas("canary") as [canary]:
        known = state(live, shadow.slot)
        backends = {**known.backends, 2: {1: canary.slot}}
        shared = replace(
            known, backends=backends, shares={"app": {2: 100}}, owners={**known.owners, 2: "app"}
        )
        ingress.apply(shared)
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{ingress.port()}/app/").headers["x-replica"] == "canary"
        assert ingress._workers.serving(Conversation.state) == shared
        ingress.apply(known)
        ask(ingress)
        copies(shadow, 1)


def test_copies_go_on_through_reloads_and_a_new_object(tmp_path: Path, live: Replica) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid())
    try:
        with shadowed(ingress, live) as shadow, ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                asking = [pool.submit(ask_often, ingress, 50) for _ in range(4)]
                ingress._engine.reload(lambda: None)
                for each in asking:
                    each.result()
            # a process that ends with a reload may leave its last ones out
            compared(ingress, lambda now: now.chosen > 590 and now.shadow.requests > now.copied - 10)
            ingress._stop_watching()
            ingress._copier.close()
            ask_often(ingress, 10)  # nobody takes the copies
            ingress = Ingress(tmp_path, watched=os.getpid())
            ask_often(ingress, 10)
            compared(ingress, lambda now: now.shadow.requests >= 10)
            assert len(shadow.requests) >= 10
    finally:
        ingress.stop()
