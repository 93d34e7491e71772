"""Requests of an app that has no replica: they wait, and the replica that comes answers them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.haproxy import process
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from tests.integration.ingress_servers import Replica, replicas
from tests.waiting import eventually

ASLEEP = IngressState({"app": 0, "other": 1}, waits={"app": 60_000})


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("r1") as [replica]:
        yield replica


@pytest.fixture(autouse=True)
def asleep(ingress: Ingress) -> None:
    """The app ``app`` has no replica and lets requests wait, ``other`` has none and does not."""
    ingress.apply(ASLEEP)
    eventually(lambda: ingress.sessions([0, 1]) == {0: 0, 1: 0})


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def awake(replica: Replica, **fields: object) -> IngressState:
    return replace(ASLEEP, backends={0: {1: replica.slot}}, **fields)  # type: ignore[arg-type]


def asked(
    pool: ThreadPoolExecutor, ingress: Ingress, method: str, **fields: object
) -> Future[httpx.Response]:
    url = f"http://127.0.0.1:{ingress.port()}/app/path?q=1"
    return pool.submit(httpx.request, method, url, timeout=60, **fields)  # type: ignore[arg-type]


def waiting(ingress: Ingress, number: int) -> None:
    eventually(lambda: ingress.traffic([0])[0][0] == number)


def test_requests_of_every_kind_wait_for_the_replica(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (b"x" * 50_000 for _ in range(100))

    answers = [
        *(asked(pool, ingress, method) for method in ("GET", "OPTIONS", "DELETE", "POST")),
        asked(pool, ingress, "POST", content=b"small"),
        asked(pool, ingress, "PUT", content=b"x" * 3_000_000),
        asked(pool, ingress, "POST", content=chunks()),
        asked(pool, ingress, "GET", content=b"odd"),
    ]
    head = asked(pool, ingress, "HEAD")
    waiting(ingress, 9)
    assert not any(each.done() for each in answers)

    ingress.apply(awake(replica))

    seen = [each.result().json() for each in answers]
    assert [each["method"] for each in seen] == [
        "GET",
        "OPTIONS",
        "DELETE",
        "POST",
        "POST",
        "PUT",
        "POST",
        "GET",
    ]
    assert {(each["path"], each["query"]) for each in seen} == {("/path", "q=1")}
    assert [len(each["body"]) for each in seen[3:]] == [0, 5, 3_000_000, 5_000_000, 3]
    assert head.result().status_code == 200
    of_ours = {name for each in seen for name in each["headers"] if "flyteray" in name}
    assert of_ours == {"x-flyteray-replica"}


def test_a_websocket_waits_and_passes_the_activator_by(ingress: Ingress, replica: Replica) -> None:
    with socket.create_connection(("127.0.0.1", ingress.port())) as raw:
        raw.settimeout(60)
        waking = threading.Thread(target=lambda: (waiting(ingress, 1), ingress.apply(awake(replica))))
        waking.start()
        with connect(
            f"ws://127.0.0.1:{ingress.port()}/app/ws", sock=raw, proxy=None, open_timeout=60
        ) as websocket:
            waking.join()
            websocket.send("hi")

            assert [websocket.recv(), websocket.recv()] == ["r1 /ws", "r1 hi"]
            assert ingress._activator._held == 0


def test_an_answer_arrives_as_it_is_written_also_through_the_activator(
    ingress: Ingress, replica: Replica
) -> None:
    replica.go_on.clear()
    waking = threading.Thread(target=lambda: (waiting(ingress, 1), ingress.apply(awake(replica))))
    waking.start()
    with httpx.stream("POST", f"http://127.0.0.1:{ingress.port()}/app/stream", timeout=60) as response:
        lines = response.iter_lines()
        for number in range(3):
            replica.go_on.set()

            assert next(lines) == f"line {number}"
    waking.join()


def test_an_app_that_lets_nobody_wait_answers_at_once(ingress: Ingress) -> None:
    for method in ("GET", "HEAD", "POST"):
        response = httpx.request(method, f"http://127.0.0.1:{ingress.port()}/other/", timeout=60)

        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert (
            method == "HEAD"
            or "'other' has no replica ready to answer. 'flyteray get app other'" in response.text
        )
    large = httpx.post(f"http://127.0.0.1:{ingress.port()}/other/", content=b"x" * 3_000_000, timeout=60)
    assert large.status_code == 503


def test_who_waits_in_vain_is_told(ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor) -> None:
    failed = asked(pool, ingress, "GET")
    waiting(ingress, 1)
    ingress.apply(replace(ASLEEP, waits={}))  # it is known that no replica will come
    assert failed.result().status_code == 503

    ingress.apply(replace(ASLEEP, waits={"app": 200}))
    assert asked(pool, ingress, "POST", content=b"x").result().status_code == 503


def test_who_leaves_waits_no_more(ingress: Ingress) -> None:
    with socket.create_connection(("127.0.0.1", ingress.port())) as client:
        client.sendall(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        waiting(ingress, 1)

    waiting(ingress, 0)
    eventually(lambda: ingress._activator._held == 0)


def test_who_waits_for_a_version_is_answered_by_the_one_that_takes_its_place(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    answers = [asked(pool, ingress, "GET"), asked(pool, ingress, "POST", content=b"x")]
    waiting(ingress, 2)

    ingress.apply(IngressState({"app": 5}, {5: {1: replica.slot}}))

    assert [each.result().status_code for each in answers] == [200, 200]


def test_requests_of_an_app_without_a_backend_wait_for_the_one_that_it_gets(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    coming = IngressState({"app": None}, coming=frozenset({"app"}), waits={"app": 60_000})
    ingress.apply(coming)
    answers = [
        *(asked(pool, ingress, method) for method in ("GET", "DELETE")),
        asked(pool, ingress, "POST", content=b"x" * 3_000_000),
    ]
    eventually(lambda: ingress._activator._held == 3)
    ingress.apply(replace(coming, apps={"app": 7}, coming=frozenset()))
    assert not any(each.done() for each in answers)

    ingress.apply(IngressState({"app": 7}, {7: {1: replica.slot}}))

    assert [each.result().status_code for each in answers] == [200, 200, 200]
    assert answers[0].result().json()["path"] == "/path"


def test_who_waits_is_never_answered_by_another_app_that_gets_the_backend(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    answers = [asked(pool, ingress, "GET"), asked(pool, ingress, "POST", content=b"x")]
    waiting(ingress, 2)

    with replicas("theirs") as [theirs]:
        ingress.apply(IngressState({"app": 5, "new": 0}, {0: {1: theirs.slot}}, waits={"app": 60_000}))
        ingress.apply(IngressState({"app": 5, "new": 0}, {0: {1: theirs.slot}, 5: {1: replica.slot}}))

        assert {each.result().json()["replica"] for each in answers} == {"r1"}


def test_who_waits_in_vain_is_told_why_in_text_or_json(ingress: Ingress) -> None:
    reason = "it could not start: KeyError: 'größe'\nand more"
    url = f"http://127.0.0.1:{ingress.port()}/app/"
    ingress.apply(IngressState({"app": None}, coming=frozenset({"app"}), reasons={"app": reason}))

    text = httpx.get(url, timeout=60)
    told = httpx.post(url, headers={"Accept": "application/json"}, content=b"x" * 100_000, timeout=60)

    assert (text.status_code, told.status_code) == (503, 503)
    assert (text.headers["content-type"], told.headers["content-type"]) == (
        "text/plain; charset=utf-8",
        "application/json",
    )
    assert reason in text.text
    assert reason in told.json()["error"]


def test_a_replica_that_cannot_be_reached_is_tried_until_it_can(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    with replicas("dead") as [dead]:
        slot = dead.slot
    answers = [asked(pool, ingress, "GET"), asked(pool, ingress, "POST", content=b"x")]
    waiting(ingress, 2)
    ingress.apply(replace(ASLEEP, backends={0: {1: slot}}))
    assert not any(each.done() for each in answers)

    ingress.apply(awake(replica))

    assert [each.result().status_code for each in answers] == [200, 200]


def test_a_request_whose_replica_dies_waits_for_the_next(
    ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    mortal = socket.create_server(("127.0.0.1", 0))

    def answer_once() -> None:
        while True:
            with contextlib.suppress(ConnectionError), mortal.accept()[0] as connection:
                if connection.recv(1 << 16):  # more than a look whether anybody listens
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    connection.recv(1 << 16)  # the next request finds it dead
                    mortal.shutdown(socket.SHUT_RDWR)
                    mortal.close()
                    return

    dying = threading.Thread(target=answer_once)
    dying.start()
    ingress.apply(IngressState({"app": 0}, {0: {1: Slot(*mortal.getsockname())}}, waits={"app": 60_000}))
    assert asked(pool, ingress, "GET").result().status_code == 200
    answer = asked(pool, ingress, "GET")
    dying.join()
    eventually(lambda: answer.done() or ingress._activator._held == 1)

    ingress.apply(awake(replica))

    assert answer.result().status_code == 200


def test_an_answer_of_the_app_itself_is_never_asked_for_again(ingress: Ingress) -> None:
    answered = []
    with socket.create_server(("127.0.0.1", 0)) as early:

        def answer() -> None:
            while True:
                with contextlib.suppress(ConnectionError), early.accept()[0] as connection:
                    if connection.recv(1 << 16):  # more than a look whether anybody listens
                        answered.append(1)
                        connection.sendall(b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n")
                        return

        answering = threading.Thread(target=answer)
        answering.start()
        ingress.apply(IngressState({"app": 0}, {0: {1: Slot(*early.getsockname())}}))
        assert httpx.get(f"http://127.0.0.1:{ingress.port()}/app/", timeout=60).status_code == 425
        answering.join()
    assert answered == [1]


def test_somebody_learns_that_a_request_waits(ingress: Ingress, pool: ThreadPoolExecutor) -> None:
    eventually(lambda: not asyncio.run(ingress.need(0.01)))  # of the tests before

    waits = asked(pool, ingress, "GET")

    assert asyncio.run(ingress.need(60))
    ingress.apply(replace(ASLEEP, waits={}))
    assert waits.result().status_code == 503


def test_what_no_client_of_the_ingress_sends_is_refused(ingress: Ingress) -> None:
    signature, address = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", b"\x7f\0\0\1\x7f\0\0\1\1\1\1\1"
    for nonsense in (
        b"GET / HTTP/1.1\r\n\r\n" + b"x" * 70_000,
        signature + b"\x0c" + address,  # about no app
        signature + b"\x0e" + address + b"\5\0",  # cut off
        signature + b"\x12" + address + b"\5\0\3abc",  # about something else
        signature + b"\x15" + address + b"\5\0\6b0 app" + b"x" * 200_000,  # without an end
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{ingress._directory}/act.sock")
            with contextlib.suppress(OSError):  # it may be refused before all is sent
                client.sendall(nonsense)
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""


def test_too_many_do_not_wait(ingress: Ingress, replica: Replica, pool: ThreadPoolExecutor) -> None:
    eventually(lambda: ingress._activator._held == 0)  # those of the tests before have left
    ingress._activator._most = 20
    try:
        answers = [asked(pool, ingress, "GET") for _ in range(25)]
        eventually(lambda: sum(each.done() for each in answers) == 5)
        ingress.apply(awake(replica))
        statuses = sorted(each.result().status_code for each in answers)
    finally:
        ingress._activator._most = 1000

    assert statuses == [200] * 20 + [503] * 5


def test_requests_wait_with_the_next_object_when_the_process_of_one_was_killed(
    tmp_path: Path, replica: Replica, pool: ThreadPoolExecutor
) -> None:
    script = f"""
import os
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
Ingress({str(tmp_path)!r}, watched={os.getpid()}).apply(IngressState({{"app": 0}}, waits={{"app": 60000}}))
os.kill(0, 9)
"""
    subprocess.run([sys.executable, "-c", script], start_new_session=True, check=False)
    found = process.running(tmp_path)
    assert found is not None
    between = httpx.get(f"http://127.0.0.1:{found.port}/app/", timeout=60)
    ingress = Ingress(tmp_path, watched=os.getpid())
    try:
        answers = [asked(pool, ingress, "GET"), asked(pool, ingress, "POST", content=b"x")]
        waiting(ingress, 2)
        ingress.apply(awake(replica))

        assert [each.result().status_code for each in answers] == [200, 200]
    finally:
        ingress.stop()
    assert (between.status_code, "has no replica ready" in between.text) == (503, True)
