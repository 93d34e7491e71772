"""What an app may ask of the ingress: host names of its own, a time limit, browsers that stay on their replica."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import Replica, replicas
from tests.waiting import eventually


@pytest.fixture(scope="module")
def members(ingress: Ingress) -> Iterator[list[Replica]]:
    with replicas("one", "two", "three", "four") as members:
        yield members


@pytest.fixture
def client(ingress: Ingress) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{ingress.port()}", timeout=30) as client:
        yield client


def arrived(client: httpx.Client, path: str, host: str) -> Any:
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 200, response.text
    return response.json()


def client_without_cookies(client: httpx.Client, base: str) -> set[str]:
    """The replicas that answer somebody who keeps no cookies."""
    found = set()
    for _ in range(12):
        client.cookies.clear()
        found.add(str(client.get(f"{base}/sticky/").headers["x-replica"]))
    return found


def members_named(members: list[Replica], name: str) -> Replica:
    return next(member for member in members if member.name == name)


@pytest.mark.parametrize(
    "host",
    ["x.localhost", "X.LocalHost:4000", "models.example.com", "Models.Example.COM:80", "hello.localhost"],
)
def test_a_host_of_an_app_leads_to_it_with_the_path_as_it_is(
    client: httpx.Client, ingress: Ingress, members: list[Replica], host: str
) -> None:
    hosts = {"x.localhost": "hello", "models.example.com": "hello"}
    ingress.apply(IngressState({"hello": 0}, {0: {1: members[0].slot}}, hosts))

    seen = arrived(client, "/hello/there", host)

    assert seen["path"] == "/hello/there"
    assert "x-forwarded-prefix" not in seen["headers"]


def test_a_host_moves_from_one_app_to_another_and_goes(
    client: httpx.Client, ingress: Ingress, members: list[Replica]
) -> None:
    apps = {"a": 0, "b": 1}
    both = {0: {1: members[0].slot}, 1: {1: members[1].slot}}
    answered = []
    for hosts in ({"x.example.com": "a"}, {"x.example.com": "b"}):
        ingress.apply(IngressState(apps, both, hosts))
        answered.append(arrived(client, "/", "x.example.com")["replica"])
    ingress.apply(IngressState(apps, both))
    gone = client.get("/", headers={"Host": "x.example.com"})

    assert answered == ["one", "two"]
    assert (gone.status_code, "names no app" in gone.text) == (404, True)


def test_hosts_outlive_the_ingress(members: list[Replica], tmp_path: Path) -> None:
    first = Ingress(tmp_path, watched=os.getpid())
    try:
        first.apply(IngressState({"hello": 0}, {0: {1: members[0].slot}}, {"x.localhost": "hello"}))
    finally:
        first.stop()
    second = Ingress(tmp_path, watched=os.getpid())
    try:
        answer = httpx.get(f"http://127.0.0.1:{second.port()}/", headers={"Host": "x.localhost"}, timeout=60)
    finally:
        second.stop()

    assert answer.status_code == 503
    assert "'hello' has no replica ready" in answer.text


def test_an_answer_that_takes_too_long_is_given_up_with_a_reason(
    client: httpx.Client, ingress: Ingress, members: list[Replica]
) -> None:
    replica, backends = members[0], {0: {1: members[0].slot}, 1: {1: members[1].slot}}
    ingress.apply(IngressState({"quick": 0, "patient": 1}, backends, {}, {"quick": 300}))

    asked = time.monotonic()
    given_up = client.get("/quick/slow")
    took = time.monotonic() - asked

    assert given_up.status_code == 504
    assert "'quick' did not answer within the 300 ms" in given_up.text
    assert "Timeouts(request=" in given_up.text
    assert took >= 0.3
    eventually(lambda: replica.left)
    patient: list[int] = []
    asking = threading.Thread(
        target=lambda: patient.append(httpx.get(f"{client.base_url}/patient/slow", timeout=60).status_code)
    )
    asking.start()
    eventually(lambda: ingress.sessions([1]) == {1: 1})
    assert client.get("/quick/slow").status_code == 504
    assert patient == []  # another app's limit is not its own
    members[1].go_on.set()
    asking.join()
    assert patient == [200]


def test_the_limit_changes_while_the_app_serves(
    client: httpx.Client, ingress: Ingress, members: list[Replica]
) -> None:
    backends = {0: {1: members[0].slot}}
    members[0].go_on.clear()
    ingress.apply(IngressState({"app": 0}, backends, {}, {"app": 200}))
    before = client.get("/app/slow").status_code
    ingress.apply(IngressState({"app": 0}, backends))
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{client.base_url}/app/slow", timeout=60).status_code)
    )
    asking.start()
    eventually(lambda: ingress.sessions([0]) == {0: 1})
    members[0].go_on.set()
    asking.join()

    assert (before, answers) == (504, [200])


def test_a_websocket_outlives_the_limit_of_requests(ingress: Ingress, members: list[Replica]) -> None:
    ingress.apply(IngressState({"app": 0}, {0: {1: members[0].slot}}, {}, {"app": 1000}))

    with (
        socket.create_connection(("127.0.0.1", ingress.port())) as raw,
        connect(f"ws://127.0.0.1:{ingress.port()}/app/ws", sock=raw, proxy=None) as websocket,
    ):
        websocket.recv()
        assert (
            httpx.get(f"http://127.0.0.1:{ingress.port()}/app/slow", timeout=60).status_code == 504
        )  # longer than the limit

        websocket.send("still here")
        assert websocket.recv() == "one still here"


def test_a_body_that_arrives_slowly_does_not_count_against_the_answer(
    ingress: Ingress, members: list[Replica]
) -> None:
    ingress.apply(IngressState({"app": 0}, {0: {1: members[0].slot}}, {}, {"app": 1000}))

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000
            httpx.get(f"http://127.0.0.1:{ingress.port()}/app/slow", timeout=60)  # as long as the limit

    answer = httpx.post(f"http://127.0.0.1:{ingress.port()}/app/", content=slowly(), timeout=30)

    assert answer.status_code == 200
    assert len(answer.json()["body"]) == 3000


def test_a_browser_stays_on_its_replica_where_the_app_asks_for_it(
    ingress: Ingress, members: list[Replica]
) -> None:
    slots = {number: member.slot for number, member in enumerate(members, start=1)}
    apps = {"sticky": 0, "other": 1}
    ingress.apply(IngressState(apps, {0: slots, 1: slots}, {}, {}, frozenset({"sticky"})))
    base = f"http://127.0.0.1:{ingress.port()}"

    def asked(client: httpx.Client, app: str) -> str:
        return str(client.get(f"{base}/{app}/").headers["x-replica"])

    with httpx.Client(timeout=60) as browser, httpx.Client(timeout=60) as program:
        stayed = [(asked(browser, "sticky"), asked(browser, "other")) for _ in range(12)]
        assert len({replica for replica, _ in stayed}) == 1
        assert len({replica for _, replica in stayed}) > 1
        assert [cookie.name for cookie in browser.cookies.jar] == ["flyteray-b0"]
        first = client_without_cookies(program, base)
        assert len(first) > 1
        mine = stayed[0][0]
        without = {
            number: slot for number, slot in slots.items() if slot != members_named(members, mine).slot
        }
        ingress.apply(IngressState(apps, {0: without, 1: slots}, {}, {}, frozenset({"sticky"})))
        moved = {asked(browser, "sticky") for _ in range(8)}
        assert len(moved) == 1
        assert moved != {mine}


def test_an_app_never_sees_the_cookie_that_keeps_a_browser(ingress: Ingress, members: list[Replica]) -> None:
    ingress.apply(IngressState({"app": 0}, {0: {1: members[0].slot}}, {}, {}, frozenset({"app"})))
    url = f"http://127.0.0.1:{ingress.port()}/app/"
    with httpx.Client(cookies={"mine": "1"}, timeout=60) as browser:
        browser.get(url)

        seen = browser.get(url).json()

    assert seen["headers"]["cookie"] == "mine=1"
