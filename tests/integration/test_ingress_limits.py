"""What apps take at most: who goes beyond it is refused at once, and told by whom and why."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from flyteray._declare.facts import Priority
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import RawReplica, Replica, answered, replicas
from tests.integration.raw_http import Answer, http1, http2, read_answer
from tests.waiting import eventually

KEYS = {name: f"flyteray_{name}" for name in ("ann", "bob", "first", "last")}
RANKS: dict[str, Priority] = {"first": "high", "last": "low"}
JSON = "Accept: application/json\r\n"


@pytest.fixture(scope="module")
def raw() -> Iterator[RawReplica]:
    raw = RawReplica(lambda request: answered(str(len(request.partition(b"\r\n\r\n")[2])).encode()))
    yield raw
    raw.stop()


@pytest.fixture(scope="module")
def slow() -> Iterator[list[Replica]]:
    with replicas("one", "two") as made:
        yield made


@pytest.fixture(scope="module")
def state(raw: RawReplica, slow: list[Replica]) -> IngressState:
    return IngressState(
        {"free": 0, "rated": 0, "small": 0, "crowded": 1},
        {0: {1: raw.slot}, 1: {1: slow[0].slot}},
        keys={key_digest(key): Grant(name, priority=RANKS.get(name, "normal")) for name, key in KEYS.items()},
        limits={"rated": Limit(rate=5), "small": Limit(body=1000, headers=600)},
        crowds={1: Crowd(2, 1)},
    )


@pytest.fixture
def ingress(ingress: Ingress, state: IngressState) -> Ingress:
    ingress.apply(state)
    return ingress


def ask(ingress: Ingress, path: str, headers: str = "", body: bytes = b"", method: str = "GET") -> Answer:
    lines = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    return http1(ingress.port(), lines.encode() + body, method=method, timeout_s=60)


def told(answer: Answer) -> tuple[int, str | None, str | None, str | None]:
    """The status, what it names in JSON, and when to try again."""
    said: dict[str, Any] = json.loads(answer.body)
    assert f"'{said['app']}'" in said["error"]
    return answer.status, said["app"], said["limit"], answer.header("retry-after")


def statuses(asked: Callable[[], Answer], times: int) -> Counter[int]:
    return Counter(asked().status for _ in range(times))


def test_each_key_and_each_address_may_send_so_many_requests_in_a_second(ingress: Ingress) -> None:
    def bearing(name: str) -> Callable[[], Answer]:
        return lambda: ask(ingress, "/rated/", f"Authorization: Bearer {KEYS[name]}\r\n")

    began = time.monotonic()
    without = statuses(lambda: ask(ingress, "/rated/"), 40)
    anns, bobs = statuses(bearing("ann"), 40), statuses(bearing("bob"), 3)
    refused = told(ask(ingress, "/rated/", JSON))
    took_s = time.monotonic() - began

    for counted in (without, anns):
        assert 5 <= counted[200] <= 5 * (1 + took_s)
        assert counted.keys() == {200, 429}
    assert bobs == {200: 3}
    assert refused == (429, "rated", "requests_per_second", "1")
    assert statuses(lambda: ask(ingress, "/free/"), 40) == {200: 40}
    eventually(lambda: ask(ingress, "/rated/").status == 200)  # who has waited is answered


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("length", "chunked", "status"),
    [(1000, False, 200), (1001, False, 413), (1000, True, 200), (1001, True, 413), (300_000, True, 413)],
)
def test_a_body_has_so_many_bytes_at_most(
    ingress: Ingress, raw: RawReplica, length: int, chunked: bool, status: int, version: int
) -> None:
    before = len(raw.requests)
    if version == 2:
        said = [] if chunked else [("content-length", str(length))]
        data = b"x" * min(length, 15_000)
        answer = http2(
            ingress.port(), [("accept", "application/json"), *said], data, method="POST", path="/small/"
        )
    elif chunked:
        head = f"{JSON}Transfer-Encoding: chunked\r\n"
        answer = ask(ingress, "/small/", head, b"%x\r\n%s\r\n0\r\n\r\n" % (length, b"x" * length), "POST")
    else:
        answer = ask(ingress, "/small/", f"{JSON}Content-Length: {length}\r\n", b"x" * length, "POST")

    assert answer.status == status
    if status == 413:
        assert told(answer)[:3] == (413, "small", "body") if version == 1 else True
        assert len(raw.requests) == before
    else:
        assert raw.requests[-1].count(b"x" * length) == 1


def test_a_body_that_streams_is_cut_where_it_is_too_large(ingress: Ingress, raw: RawReplica) -> None:
    before = len(raw.requests)
    head = f"POST /small/ HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    parts = [head.encode(), *[b"1f4\r\n%s\r\n" % (b"x" * 500)] * 3]
    answer = http1(ingress.port(), *parts)

    assert told(answer) == (413, "small", "body", None)
    assert len(raw.requests) == before


def test_headers_have_so_many_bytes_at_most(ingress: Ingress) -> None:
    assert ask(ingress, "/small/", f"X: {'x' * 300}\r\n").status == 200
    assert told(ask(ingress, "/small/", f"{JSON}X: {'x' * 600}\r\n")) == (431, "small", "headers", None)
    assert ask(ingress, "/free/", f"X: {'x' * 600}\r\n").status == 200


def test_limits_change_while_the_app_serves(ingress: Ingress, state: IngressState) -> None:
    def status() -> int:
        return ask(ingress, "/small/", f"X: {'x' * 600}\r\n").status

    before = status()
    ingress.apply(replace(state, limits={"small": Limit(headers=1000)}))
    wider = status()
    ingress.apply(replace(state, limits={}))

    assert (before, wider, status()) == (431, 200, 200)


def answers(pool: ThreadPoolExecutor, ingress: Ingress, times: int) -> list[Future[Answer]]:
    return [pool.submit(ask, ingress, "/crowded/slow", JSON) for _ in range(times)]


def released(slow: list[Replica], asked: list[Future[Answer]]) -> Counter[int]:
    def all_done() -> bool:
        for replica in slow:
            replica.go_on.set()
        return all(each.done() for each in asked)

    eventually(all_done)
    for replica in slow:
        replica.go_on.clear()
    return Counter(each.result().status for each in asked)


def test_a_replica_works_on_so_many_and_so_many_wait_and_the_rest_is_told_at_once(
    ingress: Ingress, slow: list[Replica]
) -> None:
    before = slow[0].requests
    with ThreadPoolExecutor(12) as pool:
        asked = answers(pool, ingress, 3)
        eventually(lambda: (ingress.traffic([1])[1][0], slow[0].requests - before) == (3, 2))
        began = time.monotonic()
        refused = [told(ask(ingress, "/crowded/", JSON)) for _ in range(5)]
        took_s = (time.monotonic() - began) / 5
        at_work = slow[0].requests - before

        assert released(slow, asked) == {200: 3}
    assert at_work == 2
    assert refused == [(429, "crowded", "concurrency", "1")] * 5
    assert took_s < 0.05


def open_and_queued(ingress: Ingress) -> tuple[int, int]:
    now = ingress.open([1])[1]
    return now.in_flight, now.queued


def test_who_has_a_higher_priority_is_answered_first(
    ingress: Ingress, state: IngressState, slow: list[Replica]
) -> None:
    ingress.apply(replace(state, crowds={1: Crowd(1, 4)}))
    order: list[str] = []

    def asks(name: str) -> Answer:
        answer = ask(ingress, "/crowded/slow", f"Authorization: Bearer {KEYS[name]}\r\n")
        order.append(name)
        return answer

    with ThreadPoolExecutor(8) as pool:
        asked = []
        for number, name in enumerate(["ann", "last", "bob", "first"]):
            asked.append(pool.submit(asks, name))
            eventually(lambda waiting=number: open_and_queued(ingress) == (1, waiting))  # type: ignore[misc]
        assert released(slow, asked) == {200: 4}

    assert order == ["ann", "first", "bob", "last"]
    told = json.loads(asked[-1].result().text)["headers"]
    assert (told["x-flyteray-user"], told["x-flyteray-priority"]) == ("first", "high")


def test_a_queue_has_more_room_for_a_high_priority_and_less_for_a_low_one(
    ingress: Ingress, state: IngressState, slow: list[Replica]
) -> None:
    ingress.apply(replace(state, crowds={1: Crowd(1, 2)}))

    def status(name: str) -> int:
        forged = "X-Flyteray-Priority: high\r\n"
        return ask(ingress, "/crowded/", f"Authorization: Bearer {KEYS[name]}\r\n{forged}").status

    with ThreadPoolExecutor(8) as pool:
        asked = answers(pool, ingress, 2)  # one is at work, one waits
        eventually(lambda: ingress.open([1])[1].queued == 1)
        assert status("last") == 429
        asked += answers(pool, ingress, 1)
        eventually(lambda: ingress.open([1])[1].queued == 2)
        assert status("ann") == 429
        high = f"Authorization: Bearer {KEYS['first']}\r\n"
        asked += [pool.submit(ask, ingress, "/crowded/slow", high) for _ in range(2)]
        eventually(lambda: ingress.open([1])[1].queued == 4)
        assert status("first") == 429
        assert released(slow, asked) == {200: 5}


def test_websockets_count(ingress: Ingress, slow: list[Replica]) -> None:
    upgrade = (
        b"GET /crowded/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    clients = [socket.create_connection(("127.0.0.1", ingress.port())) for _ in range(3)]
    try:
        for client in clients:
            client.sendall(upgrade)
        eventually(lambda: ingress.traffic([1])[1][0] == 3)
        assert ask(ingress, "/crowded/").status == 429
    finally:
        for client in clients:
            client.close()
    eventually(lambda: ask(ingress, "/crowded/").status == 200)


def test_another_replica_and_another_limit_make_room_while_the_app_serves(
    ingress: Ingress, slow: list[Replica], state: IngressState
) -> None:
    """The limit is raised, set for a second replica that comes, and lifted: nothing that is open is lost."""
    both = {**state.backends, 1: {1: slow[0].slot, 2: slow[1].slot}}
    with ThreadPoolExecutor(30) as pool:
        asked = answers(pool, ingress, 3)
        eventually(lambda: ingress.traffic([1])[1][0] == 3)
        assert ask(ingress, "/crowded/").status == 429
        ingress.apply(replace(state, crowds={1: Crowd(3, 1)}))
        asked += answers(pool, ingress, 1)
        eventually(lambda: ingress.traffic([1])[1][0] == 4)
        assert ask(ingress, "/crowded/").status == 429
        ingress.apply(replace(state, crowds={1: Crowd(3, 1)}, backends=both))
        asked += answers(pool, ingress, 4)
        eventually(lambda: ingress.traffic([1])[1][0] == 8)
        assert ask(ingress, "/crowded/").status == 429
        ingress.apply(replace(state, crowds={}, backends=both))
        asked += answers(pool, ingress, 10)
        eventually(lambda: ingress.traffic([1])[1][0] == 18)
        assert ask(ingress, "/crowded/").status == 200

        assert released(slow, asked) == {200: 18}


def test_no_request_waits_where_the_queue_is_none(
    ingress: Ingress, slow: list[Replica], state: IngressState
) -> None:
    ingress.apply(replace(state, crowds={1: Crowd(1, 0)}))
    with ThreadPoolExecutor(1) as pool:
        first = ask(ingress, "/crowded/").status
        asked = answers(pool, ingress, 1)
        eventually(lambda: ingress.traffic([1])[1][0] == 1)
        second = ask(ingress, "/crowded/").status

        assert released(slow, asked) == {200: 1}
    assert (first, second) == (200, 429)


def test_an_app_that_sleeps_is_waited_for_whatever_its_limits(
    ingress: Ingress, slow: list[Replica], state: IngressState
) -> None:
    ingress.apply(replace(state, backends={}, waits={"crowded": 60_000}))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, ingress, "/crowded/") for _ in range(3)]
        eventually(lambda: ingress.traffic([1])[1][0] == 3)
        ingress.apply(replace(state, waits={"crowded": 60_000}))

        assert Counter(each.result().status for each in asked) == {200: 3}


def test_bodies_that_stream_are_counted_apart_and_do_not_wait(ingress: Ingress, slow: list[Replica]) -> None:
    head = f"POST /crowded/ HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    begins, ends, before = f"{head}1\r\nx\r\n".encode(), b"0\r\n\r\n", slow[0].requests
    streams = [socket.create_connection(("127.0.0.1", ingress.port()), timeout=20) for _ in range(2)]
    try:
        for stream in streams:
            stream.sendall(begins)
        eventually(lambda: slow[0].requests == before + 2)
        assert told(http1(ingress.port(), begins)) == (429, "crowded", "concurrency", "1")
        assert ask(ingress, "/crowded/").status == 200
        for stream in streams:
            stream.sendall(ends)
            assert read_answer(stream).status == 200
        eventually(lambda: http1(ingress.port(), begins, ends).status == 200)
    finally:
        for stream in streams:
            stream.close()


def test_what_waited_for_a_start_is_let_in_as_the_replica_takes_it(
    ingress: Ingress, slow: list[Replica], state: IngressState
) -> None:
    ingress.apply(replace(state, backends={}, waits={"crowded": 60_000}))
    before = slow[0].requests
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(ask, ingress, "/crowded/slow", f"{JSON}Content-Length: 1\r\n", b"x", "POST")
            for _ in range(6)
        ]
        eventually(lambda: ingress.traffic([1])[1][0] == 6)
        ingress.apply(replace(state, waits={"crowded": 60_000}))
        eventually(lambda: slow[0].requests - before == 2, timeout=20)
        assert not any(each.done() for each in asked)

        assert released(slow, asked) == {200: 6}
