"""Apps that ask for keys: who is let in, what the app learns of them, and how that changes while it serves."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import Replica, replicas

KEY, OTHER = "flyteray_of-the_tests", "flyteray_another"
APPS = {"closed": 0, "open": 0, "halted": None}


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("one") as [replica]:
        yield replica


@pytest.fixture(scope="module")
def state(replica: Replica) -> IngressState:
    private = frozenset({"closed", "halted"})
    return IngressState(
        APPS, {0: {1: replica.slot}}, private=private, keys={key_digest(KEY): "ann@example.com"}
    )


@pytest.fixture
def ingress(ingress: Ingress, state: IngressState) -> Ingress:
    ingress.apply(state)
    return ingress


def ask(ingress: Ingress, path: str = "/closed/", **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{ingress.port()}{path}", headers=headers, timeout=60)


def seen(answer: httpx.Response) -> Mapping[str, str]:
    """The headers that the replica got."""
    assert answer.status_code == 200, answer.text
    found: Mapping[str, str] = answer.json()["headers"]
    return found


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_who_sends_the_key_is_let_in_and_known_by_name(ingress: Ingress, scheme: str) -> None:
    headers = seen(ask(ingress, Authorization=f"{scheme} {KEY}"))

    assert headers["x-flyteray-user"] == "ann@example.com"
    assert headers["authorization"] == f"{scheme} {KEY}"


@pytest.mark.parametrize("sent", ["", KEY, f"Basic {KEY}", "Bearer", f"Bearer{KEY}"])
def test_who_sends_no_key_is_told_what_to_send(ingress: Ingress, replica: Replica, sent: str) -> None:
    before = replica.requests
    refused = ask(ingress, Authorization=sent) if sent else ask(ingress)

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "send the header 'Authorization: Bearer KEY'" in refused.text
    assert "'flyteray create key NAME' makes one" in refused.text
    assert replica.requests == before


@pytest.mark.parametrize("sent", [OTHER, KEY[:-1], KEY + "x", KEY.upper(), key_digest(KEY), f"{KEY} x"])
def test_a_wrong_key_is_refused_without_being_repeated(ingress: Ingress, sent: str) -> None:
    refused = ask(ingress, Authorization=f"Bearer {sent}")

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "the one that was sent is not or no longer right" in refused.text
    assert sent not in refused.text


@pytest.mark.parametrize("header", ["X-Flyteray-User", "x_flyteray_user"])
def test_nobody_can_say_that_they_are_somebody_else(ingress: Ingress, header: str) -> None:
    forged = {header: "root"}

    assert seen(ask(ingress, Authorization=f"Bearer {KEY}", **forged))["x-flyteray-user"] == "ann@example.com"
    assert "root" not in seen(ask(ingress, "/open/", **forged)).values()


def test_an_app_that_asks_for_no_key_answers_all_and_knows_those_who_send_one(ingress: Ingress) -> None:
    assert "x-flyteray-user" not in seen(ask(ingress, "/open/"))
    assert "x-flyteray-user" not in seen(ask(ingress, "/open/", Authorization=f"Bearer {OTHER}"))
    assert seen(ask(ingress, "/open/", Authorization=f"Bearer {KEY}"))["x-flyteray-user"] == "ann@example.com"


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "closed.localhost", 401),
        ("/closed/x", "", 401),
        ("/closed", "", 401),
        ("/halted/", "", 401),
        ("/nope/", "", 404),
        ("/open/closed/", "", 200),
    ],
)
def test_there_is_no_way_around(ingress: Ingress, path: str, host: str, status: int) -> None:
    headers = {"Accept": "text/html"} | ({"Host": host} if host else {})

    assert ask(ingress, path, **headers).status_code == status


def test_keys_come_and_go_while_the_app_serves(ingress: Ingress, state: IngressState) -> None:
    def statuses() -> list[int]:
        return [ask(ingress, Authorization=f"Bearer {key}").status_code for key in (KEY, OTHER)]

    ingress.apply(replace(state, keys={**state.keys, key_digest(OTHER): "bob"}))
    both = statuses()
    ingress.apply(replace(state, keys={key_digest(OTHER): "bob"}))
    one = statuses()
    ingress.apply(replace(state, keys={}))

    assert (both, one, statuses()) == ([200, 200], [401, 200], [401, 401])


def test_as_many_keys_as_you_like(ingress: Ingress, state: IngressState) -> None:
    many = {key_digest(str(number)): f"user-{number}" for number in range(2000)}
    ingress.apply(replace(state, keys=many))

    assert seen(ask(ingress, Authorization="Bearer 1999"))["x-flyteray-user"] == "user-1999"


def test_whether_an_app_asks_changes_while_it_serves(ingress: Ingress, state: IngressState) -> None:
    ingress.apply(replace(state, private=frozenset({"open"})))

    assert [ask(ingress, path).status_code for path in ("/closed/", "/open/")] == [200, 401]


def test_a_websocket_needs_the_key_to_open_and_outlives_it(ingress: Ingress, state: IngressState) -> None:
    url = f"ws://127.0.0.1:{ingress.port()}/closed/ws"
    with pytest.raises(InvalidStatus, match="401"):
        connect(url, proxy=None)
    with (
        socket.create_connection(("127.0.0.1", ingress.port())) as raw,
        connect(
            url, sock=raw, proxy=None, additional_headers={"Authorization": f"Bearer {KEY}"}
        ) as websocket,
    ):
        websocket.recv()
        ingress.apply(replace(state, keys={}))
        websocket.send("still here")

        assert websocket.recv() == "one still here"


def test_a_stream_needs_the_key(ingress: Ingress, replica: Replica) -> None:
    url = f"http://127.0.0.1:{ingress.port()}/closed/stream"
    lines = []
    with httpx.stream("GET", url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as answer:
        replica.go_on.set()
        for line in answer.iter_lines():
            lines.append(line)
            replica.go_on.set()
    replica.go_on.clear()

    assert httpx.get(url, timeout=60).status_code == 401
    assert lines == ["line 0", "line 1", "line 2"]


def test_keys_outlive_the_ingress_and_are_in_its_files_by_digest_only(
    state: IngressState, tmp_path: Path
) -> None:
    first = Ingress(tmp_path, watched=os.getpid())
    try:
        first.apply(state)
        assert ask(first, Authorization=f"Bearer {KEY}").status_code == 200
        assert ask(first, Authorization=f"Bearer {OTHER}").status_code == 401
    finally:
        first.stop()
    second = Ingress(tmp_path, watched=os.getpid())
    try:
        asked = [ask(second).status_code, ask(second, Authorization=f"Bearer {KEY}").status_code]
    finally:
        second.stop()

    assert asked == [401, 503]  # let in, but the replicas are yet to be told
    texts = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert any(key_digest(KEY).encode() in text for text in texts)
    assert not any(key.encode() in text for text in texts for key in (KEY, OTHER))
