"""What an ingress sees of its requests: each once, through reloads, restarts and a new object for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from flyteray._ingress.haproxy import process
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._ingress.seen.access_log import FILE
from flyteray._plan.traffic.figures import Figures
from tests.integration.ingress_servers import RawReplica, answered, replicas
from tests.integration.test_ingress_growth import old_workers, serving
from tests.waiting import eventually


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path, watched=os.getpid())
    yield ingress
    ingress.stop()


def once(ingress: Ingress, requests: int, backend: int = 0) -> Figures:
    """The figures of a backend once so many requests have ended."""

    def figures() -> Figures | None:
        found = ingress.seen.figures([backend])[backend]
        return found if found.requests >= requests else None

    found = eventually(figures, timeout=10)
    assert found.requests == requests
    return found


def get(ingress: Ingress, path: str, times: int = 1) -> None:
    with httpx.Client() as client:
        for _ in range(times):
            client.get(f"http://127.0.0.1:{ingress.port()}/{path}", timeout=30)


def leave(ingress: Ingress, path: str, when: Callable[[socket.socket], object]) -> None:
    """Ask, and go away once what is waited for has happened."""
    with socket.create_connection(("127.0.0.1", ingress.port())) as client:
        client.sendall(b"GET /%s HTTP/1.1\r\nHost: app-0.localhost\r\n\r\n" % path.encode())
        when(client)


def worker(directory: Path) -> int:
    with Conversation(directory) as haproxy:
        return haproxy.pid()


def test_each_request_counts_once_by_how_it_ended(ingress: Ingress) -> None:
    def answer(request: bytes) -> bytes | None:
        path = request.split(b" ")[1]
        whole = answered(b"ok", status={b"/500": "500 Oh", b"/404": "404 No"}.get(path, "200 OK"))
        return {b"/none": None, b"/half": whole[:-1], b"/bogus": b"no HTTP\r\n\r\n"}.get(path, whole)

    replica = RawReplica(answer)
    ingress.apply(serving(replica.slot, 0))

    for path in ("200", "404", "500", "none", "bogus"):
        get(ingress, f"app-0/{path}")

    assert once(ingress, 5).classes == (0, 1, 0, 1, 3)
    assert once(ingress, 5).errors == 3
    get(ingress, "unknown/")
    get(ingress, "app-0/200")
    assert once(ingress, 6).answered == 6
    replica.stop()


def test_an_answer_that_breaks_off_is_an_error_and_a_client_that_leaves_is_not(ingress: Ingress) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0, timeouts={"app-0": 20_000}))
        leave(ingress, "stream", lambda client: client.recv(1 << 16))
        leave(ingress, "slow", lambda _: eventually(lambda: one.requests == 2))
        figures = once(ingress, 2)
        assert (figures.aborted, figures.errors, figures.classes) == (2, 0, (0, 1, 0, 0, 0))

        with httpx.stream("GET", f"http://127.0.0.1:{ingress.port()}/app-0/stream") as answer:
            assert answer.status_code == 200
            one.stop()
        assert once(ingress, 3).error_rate == 1.0


def test_a_websocket_counts_when_it_has_ended_and_by_how_soon_it_was_opened(ingress: Ingress) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        with connect(f"ws://127.0.0.1:{ingress.port()}/app-0/ws", proxy=None) as websocket:
            websocket.recv()
            get(ingress, "app-0/")
            assert once(ingress, 1).classes == (0, 1, 0, 0, 0)
        figures = once(ingress, 2)
    assert (figures.classes, figures.aborted, figures.errors) == ((1, 1, 0, 0, 0), 0, 0)


def test_a_request_that_waited_for_its_apps_first_backend_is_of_that(ingress: Ingress) -> None:
    with replicas("one") as [one], socket.create_connection(("127.0.0.1", ingress.port())) as client:
        ingress.apply(IngressState({"app-0": None}, coming=frozenset({"app-0"}), waits={"app-0": 20_000}))
        client.sendall(b"GET /app-0/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        ingress.apply(serving(one.slot, 0, waits={"app-0": 20_000}))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        assert once(ingress, 1).errors == 0


def test_nothing_is_lost_and_nothing_counts_twice_through_reloads(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        with connect(f"ws://127.0.0.1:{ingress.port()}/app-0/ws", proxy=None) as websocket:
            websocket.recv()
            with httpx.Client() as kept:
                kept.get(f"http://127.0.0.1:{ingress.port()}/app-0/")
                for most in (128, 300):
                    ingress.apply(serving(one.slot, 0, most))
                    get(ingress, "app-0/", times=5)
                kept.get(f"http://127.0.0.1:{ingress.port()}/app-0/")
            assert once(ingress, 12).requests == 12
            assert old_workers(tmp_path)
        once(ingress, 13)


def test_a_killed_haproxy_loses_no_figures_that_were_there(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        get(ingress, "app-0/", times=3)
        once(ingress, 3)
        os.kill(killed := worker(tmp_path), signal.SIGKILL)
        eventually(lambda: not psutil.pid_exists(killed))
        get(ingress, "app-0/", times=3)
        once(ingress, 6)


def test_another_supervisor_has_another_pipe_which_is_read_as_well(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        get(ingress, "app-0/", times=3)
        once(ingress, 3)
        killed = process.running(tmp_path)
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        eventually(lambda: (found := process.running(tmp_path)) is not None and found.pid != killed.pid)
        get(ingress, "app-0/", times=3)
        once(ingress, 6)


def test_what_finds_no_room_is_told_and_what_is_long_is_cut(tmp_path: Path) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), access_log=True)
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        get(ingress, "app-0/" + "x" * 6000)
        once(ingress, 1)
        assert ingress.seen.log is not None
        [entry] = eventually(lambda: ingress.seen.log.last("app-0", 9).entries)  # type: ignore[union-attr]
        assert 3000 < len(json.loads(entry)["path"]) < 4000
        assert ingress.unseen() == 0

        ingress.seen.stop()
        get(ingress, "app-0/" + "x" * 3800, times=330)  # more than the pipe takes
        lost = ingress.unseen()
        assert 0 < lost < 330
        second = Ingress(tmp_path, watched=os.getpid())
        once(second, 330 - lost)
        second.stop()


def test_a_new_object_counts_on_from_where_the_last_one_was(tmp_path: Path) -> None:
    first = Ingress(tmp_path, watched=os.getpid())
    with replicas("one") as [one]:
        first.apply(serving(one.slot, 0))
        get(first, "app-0/", times=3)
        once(first, 3)
        first.seen.stop()
        get(first, "app-0/", times=2)

        second = Ingress(tmp_path, watched=os.getpid())
        get(second, "app-0/", times=2)
        once(second, 4)
        second.stop()


def test_an_entry_of_each_request_is_written_where_that_is_asked_for(tmp_path: Path) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), access_log=True)
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0, names={"b0": "v1", "b0/s1": "app-0#one"}))
        url = f"http://127.0.0.1:{ingress.port()}/app-0"
        httpx.put(f"{url}/a/b?token=secret", content=b"x" * 1000, headers={"X-Request-Id": "mine-1"})
        httpx.request("PROPFIND", f"{url}/")
        httpx.get(f"http://127.0.0.1:{ingress.port()}/nope/x")
        once(ingress, 2)
        log = ingress.seen.log
        assert log is not None
        eventually(lambda: "/nope/x" in (tmp_path / FILE).read_text(), timeout=10)
        first, second = (json.loads(each) for each in log.last("app-0", 5).entries)
        ingress.stop()

    assert (first["method"], first["path"], first["status"]) == ("PUT", "/app-0/a/b", 200)
    assert (first["version"], first["replica"], first["client"]) == ("v1", "app-0#one", "127.0.0.1")
    assert first["bytes_in"] > 1000
    assert first["request_id"] == "mine-1"
    assert 0 < first["first_byte_ms"] <= first["whole_ms"]
    assert second["method"] == "PROPFIND"
    assert "secret" not in (tmp_path / FILE).read_text()


def test_without_an_access_log_nothing_is_written(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        get(ingress, "app-0/")
        once(ingress, 1)
    assert not list(tmp_path.glob(f"{FILE}*"))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("7f3b-AZ.09_:=+/@", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("with space", False),
        ('quote"', False),
        (None, False),
    ],
)
def test_a_request_has_an_id_that_app_and_client_know(ingress: Ingress, sent: str | None, kept: bool) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with replicas("one") as [one]:
        ingress.apply(serving(one.slot, 0))
        headers = {"traceparent": traceparent, **({"X-Request-Id": sent} if sent else {})}
        answer = httpx.get(f"http://127.0.0.1:{ingress.port()}/app-0/", headers=headers)

    found = answer.headers["x-request-id"]
    assert answer.json()["headers"]["x-request-id"] == found
    assert answer.json()["headers"]["traceparent"] == traceparent
    assert (found == sent) is kept
    assert kept or uuid.UUID(found)
    assert httpx.get(f"http://127.0.0.1:{ingress.port()}/nope/").headers["x-request-id"]
