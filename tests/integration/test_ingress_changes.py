"""What a client notices when replicas come, go and are replaced: nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from tests.integration.ingress_servers import replicas
from tests.waiting import eventually


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path, watched=os.getpid())
    yield ingress
    ingress.stop()


class Load:
    """Clients that ask GET and POST in turn, ``pause`` seconds between; counts the answers by what they were."""

    def __init__(self, url: str, clients: int = 4, pause: float = 0.0) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._pause = pause
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, answers: int = 40) -> None:
        """Return after that many more answers."""
        enough = self.answers.total() + answers
        eventually(lambda: self.answers.total() >= enough, every=0.005)

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._over.wait(self._pause):
                for method in ("GET", "POST"):
                    try:
                        response = client.request(method, self._url)
                        self.answers[response.headers.get("x-replica", str(response.status_code))] += 1
                    except httpx.HTTPError as error:
                        self.answers[repr(error)] += 1


def test_no_request_is_lost_while_replicas_and_versions_change(ingress: Ingress) -> None:
    with replicas("v1a", "v1b", "v2a") as [v1a, v1b, v2a]:
        ingress.apply(IngressState({"app": 0}, {0: {1: v1a.slot}}))
        with (
            socket.create_connection(("127.0.0.1", ingress.port())) as raw,
            connect(f"ws://127.0.0.1:{ingress.port()}/app/ws", sock=raw, proxy=None) as websocket,
            Load(f"http://127.0.0.1:{ingress.port()}/app/") as load,
        ):
            assert websocket.recv() == "v1a /ws"
            for _ in range(5):
                load.goes_on()
                ingress.apply(IngressState({"app": 0}, {0: {1: v1a.slot, 2: v1b.slot}}))  # a replica more
                load.goes_on()
                ingress.apply(IngressState({"app": 0}, {0: {2: v1b.slot}}))  # a replica less
                load.goes_on()
                ingress.apply(IngressState({"app": 0}, {0: {2: v1a.slot}}))  # another one in its place
                load.goes_on()
                ingress.apply(IngressState({"app": 1}, {0: {2: v1a.slot}, 1: {1: v2a.slot}}))  # a new version
                load.goes_on()
                ingress.apply(IngressState({"app": 1}, {1: {1: v2a.slot}}))  # the old one is over
                load.goes_on()
                ingress.apply(
                    IngressState({"app": 0, "other": 1}, {0: {1: v1a.slot}, 1: {1: v2a.slot}})
                )  # rollback
            websocket.send("still here")

            assert websocket.recv() == "v1a still here"

        assert load.answers.keys() == {"v1a", "v1b", "v2a"}


def test_a_request_under_way_is_finished_by_the_version_that_was_replaced(ingress: Ingress) -> None:
    with replicas("v1", "v2") as [v1, v2]:
        ingress.apply(IngressState({"app": 0}, {0: {1: v1.slot}}))
        answers: list[httpx.Response] = []
        url = f"http://127.0.0.1:{ingress.port()}/app"
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{url}/slow", timeout=60)))
        asking.start()
        eventually(lambda: v1.requests == 1)

        ingress.apply(IngressState({"app": 1}, {0: {1: v1.slot}, 1: {1: v2.slot}}))

        assert httpx.get(url + "/", timeout=60).headers["x-replica"] == "v2"
        eventually(lambda: ingress.sessions([0, 1]) == {0: 1, 1: 0})
        v1.go_on.set()
        asking.join()
        assert answers[0].headers["x-replica"] == "v1"
        eventually(lambda: ingress.sessions([0]) == {0: 0})


def test_an_app_can_be_stopped_started_and_deleted(ingress: Ingress) -> None:
    url = f"http://127.0.0.1:{ingress.port()}/app/"
    statuses = []
    with replicas("r") as [replica]:
        for state in (
            IngressState({"app": 0}, {0: {1: replica.slot}}),
            IngressState({"app": None}),
            IngressState({"app": 7}, {7: {32: replica.slot}}),
            IngressState({}),
        ):
            ingress.apply(state)
            response = httpx.get(url, timeout=60)
            statuses.append((response.status_code, "stopped" in response.text))

    assert statuses == [(200, False), (503, True), (200, False), (404, False)]


def test_a_replica_in_the_place_of_a_dead_one_serves_at_once(ingress: Ingress) -> None:
    url = f"http://127.0.0.1:{ingress.port()}/app/"
    with replicas("fresh") as [fresh]:
        with replicas("dead") as [dead]:
            ingress.apply(IngressState({"app": 0}, {0: {1: dead.slot}}))
        eventually(lambda: httpx.get(url, timeout=60).status_code == 503)

        ingress.apply(IngressState({"app": 0}, {0: {1: fresh.slot}}))

        assert [httpx.get(url, timeout=60).status_code for _ in range(5)] == [200] * 5


def test_a_full_pool_is_applied_and_emptied(ingress: Ingress) -> None:
    with replicas("r") as [replica]:
        apps: dict[str, int | None] = {f"app-{number}": number for number in range(128)}
        nobody = Slot("127.0.0.1", 1)  # all are asked for their health; so many are too many for one replica
        full = IngressState(
            apps,
            {
                number: dict.fromkeys(range(1, 33), replica.slot if number == 127 else nobody)
                for number in range(128)
            },
        )

        ingress.apply(full)
        assert httpx.get(f"http://127.0.0.1:{ingress.port()}/app-127/", timeout=60).status_code == 200
        ingress.apply(IngressState())
        assert httpx.get(f"http://127.0.0.1:{ingress.port()}/app-127/", timeout=60).status_code == 404
