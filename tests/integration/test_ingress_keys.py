"""Apps that ask for keys: who is let in, what the app learns of them, and how that changes while it serves."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from flyteray._declare.facts import Role
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.http2_client import http2
from tests.integration.ingress_servers import Replica, replicas
from tests.waiting import eventually

KEY, OTHER = "flyteray_of-the_tests", "flyteray_another"
APPS = {"closed": 0, "open": 0, "hook": 0, "halted": None}


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("one") as [replica]:
        yield replica


@pytest.fixture(scope="module")
def state(replica: Replica) -> IngressState:
    private = frozenset({"closed", "hook", "halted"})
    return IngressState(
        APPS, {0: {1: replica.slot}}, private=private, keys={key_digest(KEY): Grant("ann@example.com")}
    )


@pytest.fixture
def ingress(ingress: Ingress, state: IngressState) -> Ingress:
    ingress.apply(state)
    return ingress


def ask(ingress: Ingress, path: str = "/closed/", **headers: str) -> httpx.Response:
    return httpx.get(url(ingress, path), headers=headers, timeout=60)


def url(ingress: Ingress, path: str) -> str:
    return f"http://127.0.0.1:{ingress.port()}{path}"


def seen(answer: httpx.Response) -> Mapping[str, str]:
    """The headers that the replica got."""
    assert answer.status_code == 200, answer.text
    found: Mapping[str, str] = answer.json()["headers"]
    return found


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_who_sends_the_key_is_let_in_and_known_by_name(ingress: Ingress, scheme: str) -> None:
    headers = seen(ask(ingress, Authorization=f"{scheme} {KEY}"))

    assert headers["x-flyteray-user"] == "ann@example.com"
    assert "authorization" not in headers  # any app could use it elsewhere


def test_an_app_is_given_the_key_if_it_asks_for_it_and_what_is_none_of_ours_in_any_case(
    ingress: Ingress, state: IngressState
) -> None:
    def arrives(path: str, sent: str) -> str | None:
        return seen(ask(ingress, path, Authorization=sent)).get("authorization")

    before = [arrives("/open/", sent) for sent in (f"Bearer {KEY}", f"Bearer {OTHER}", "Basic eDp5")]
    ingress.apply(replace(state, forwards=frozenset({"open"})))

    assert before == [None, f"Bearer {OTHER}", "Basic eDp5"]
    assert arrives("/open/", f"Bearer {KEY}") == f"Bearer {KEY}"
    assert arrives("/closed/", f"Bearer {KEY}") is None


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


@pytest.mark.parametrize(
    ("key", "status"), [(None, "401"), ("wrong", "401"), (KEY, "200")], ids=["none", "wrong", "right"]
)
def test_who_sends_a_short_body_by_http2_is_refused_when_it_is_there(
    ingress: Ingress, key: str | None, status: str
) -> None:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "a",
        ":path": "/closed/",
        "content-length": "4",
    }
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    with http2(ingress.port(), timeout_s=0.5) as client:
        stream = client.open(headers.items())
        with pytest.raises(TimeoutError):
            client.headers(stream)
        client.raw.settimeout(20)
        client.send(stream, b"body", end=True)
        assert client.headers(stream)[":status"] == status
        client.whole(stream)
        assert client.resets == {}


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
    headers = {"Host": host} if host else {}
    browsed = ask(ingress, path, Accept="text/html", **headers)

    assert ask(ingress, path, **headers).status_code == status
    assert browsed.status_code == (302 if status == 401 else status)


def test_keys_come_and_go_while_the_app_serves(ingress: Ingress, state: IngressState) -> None:
    def statuses() -> list[int]:
        return [ask(ingress, Authorization=f"Bearer {key}").status_code for key in (KEY, OTHER)]

    ingress.apply(replace(state, keys={**state.keys, key_digest(OTHER): Grant("bob")}))
    both = statuses()
    ingress.apply(replace(state, keys={key_digest(OTHER): Grant("bob")}))
    one = statuses()
    ingress.apply(replace(state, keys={}))

    assert (both, one, statuses()) == ([200, 200], [401, 200], [401, 401])


def test_as_many_keys_as_you_like(ingress: Ingress, state: IngressState) -> None:
    many = {key_digest(str(number)): Grant(f"user-{number}") for number in range(2000)}
    ingress.apply(replace(state, keys=many))

    assert seen(ask(ingress, Authorization="Bearer 1999"))["x-flyteray-user"] == "user-1999"


def test_whether_an_app_asks_changes_while_it_serves(ingress: Ingress, state: IngressState) -> None:
    ingress.apply(replace(state, private=frozenset({"open"})))

    assert [ask(ingress, path).status_code for path in ("/closed/", "/open/")] == [200, 401]


@contextlib.contextmanager
def open_websocket(ingress: Ingress, key: str, path: str = "/closed/ws") -> Iterator[ClientConnection]:
    with socket.create_connection(("127.0.0.1", ingress.port())) as raw:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"ws://127.0.0.1:{ingress.port()}{path}"
        with connect(url, sock=raw, proxy=None, additional_headers=headers, close_timeout=0.1) as websocket:
            websocket.recv()
            yield websocket


def says_still(websocket: ClientConnection) -> str | bytes:
    websocket.send("here")
    return websocket.recv()


def test_what_is_open_for_a_key_ends_with_the_key_and_nothing_else_does(
    ingress: Ingress, state: IngressState, replica: Replica
) -> None:
    ingress.apply(replace(state, keys={**state.keys, key_digest(OTHER): Grant("bob")}))
    bearer = {"Authorization": f"Bearer {KEY}"}
    with (
        open_websocket(ingress, KEY) as ours,
        open_websocket(ingress, OTHER) as theirs,
        httpx.stream("GET", url(ingress, "/closed/stream"), headers=bearer, timeout=30) as stream,
        httpx.stream("GET", url(ingress, "/open/stream"), timeout=30) as without,
    ):
        assert says_still(ours) == "one here"
        began = time.monotonic()
        ingress.apply(replace(state, keys={key_digest(OTHER): Grant("bob")}))
        with pytest.raises(ConnectionClosed):
            ours.recv(timeout=20)
        with pytest.raises(httpx.RemoteProtocolError):
            stream.read()
        took_s = time.monotonic() - began

        assert says_still(theirs) == "one here"
        for _ in range(3):
            replica.go_on.set()
            eventually(lambda: not replica.go_on.is_set())
        assert without.read().endswith(b"line 2\n")
    assert took_s < 1


def test_a_key_ends_by_itself_with_what_is_open_for_it(ingress: Ingress, state: IngressState) -> None:
    def bearing(key: str) -> httpx.Response:
        return ask(ingress, Authorization=f"Bearer {key}")

    ends = int(time.time()) + 2
    ingress.apply(replace(state, keys={**state.keys, key_digest(OTHER): Grant("bob", expires=ends)}))
    with open_websocket(ingress, OTHER) as websocket, open_websocket(ingress, KEY) as lasting:
        before = bearing(OTHER).status_code
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=20)
        late_s = time.time() - ends
        says_still(lasting)
    after = bearing(OTHER)

    assert (before, after.status_code) == (200, 401)
    assert "the time of the one that was sent, 'bob', is over" in after.text
    assert 0 <= late_s < 1
    assert "x-flyteray-user" not in seen(ask(ingress, "/open/", Authorization=f"Bearer {OTHER}"))


def test_an_answer_that_was_waited_for_while_its_key_ended_does_not_begin_to_stream(
    ingress: Ingress, state: IngressState, replica: Replica
) -> None:
    def stream() -> httpx.Response:
        return ask(ingress, "/closed/slow-stream", Authorization=f"Bearer {KEY}")

    with ThreadPoolExecutor(1) as pool:
        before = replica.requests
        waits = pool.submit(stream)
        eventually(lambda: replica.requests > before)
        ingress.apply(replace(state, keys={}))
        replica.go_on.set()

        assert waits.result().status_code == 401


def test_a_key_opens_its_apps_and_no_others(ingress: Ingress, state: IngressState) -> None:
    grant = Grant("bob", apps=frozenset({"closed", "later"}))
    ingress.apply(replace(state, keys={**state.keys, key_digest(OTHER): grant}))

    def bearing(path: str) -> httpx.Response:
        return ask(ingress, path, Authorization=f"Bearer {OTHER}")

    refused = bearing("/hook/")
    assert (bearing("/closed/").status_code, refused.status_code) == (200, 403)
    assert "The key 'bob' is not for app 'hook'" in refused.text
    assert "'flyteray create key NAME --app hook'" in refused.text
    assert "x-flyteray-user" not in seen(bearing("/open/"))


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        ("read", [403, 403, 200, 403]),
        ("invoke", [200, 200, 200, 403]),
        ("deploy", [200, 200, 200, 200]),
        ("admin", [200, 200, 200, 200]),
    ],
)
def test_a_role_may_do_what_those_below_it_may(
    ingress: Ingress, state: IngressState, role: Role, statuses: list[int]
) -> None:
    keys = {key_digest(OTHER): Grant("bob", role)}
    ingress.apply(replace(state, keys=keys, roles={"hook": ("read", "deploy")}))

    asked = [
        httpx.request(method, url(ingress, path), headers={"Authorization": f"Bearer {OTHER}"}, timeout=60)
        for path in ("/closed/", "/hook/")
        for method in ("GET", "POST")
    ]

    assert [answer.status_code for answer in asked] == statuses
    if role == "read":
        assert "asks for a key with the role 'invoke'" in asked[0].text
        assert "asks for a key with the role 'deploy'" in asked[3].text


def test_who_sends_many_wrong_keys_is_told_to_wait_and_right_ones_are_let_in(
    state: IngressState, tmp_path: Path
) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid())
    try:
        ingress.apply(state)
        wrong = [ask(ingress, Authorization=f"Bearer {number}") for number in range(14)]
        right = ask(ingress, Authorization=f"Bearer {KEY}")
        none, elsewhere = ask(ingress), ask(ingress, "/open/", Authorization="Bearer 1")
    finally:
        ingress.stop()

    assert [answer.status_code for answer in wrong] == [401] * 10 + [429] * 4
    assert wrong[-1].headers["retry-after"] == "10"
    assert (right.status_code, none.status_code, elsewhere.status_code) == (200, 401, 200)


def test_a_websocket_needs_the_key_to_open(ingress: Ingress) -> None:
    with pytest.raises(InvalidStatus, match="401"):
        connect(f"ws://127.0.0.1:{ingress.port()}/closed/ws", proxy=None)


def test_a_stream_needs_the_key(ingress: Ingress, replica: Replica) -> None:
    address = url(ingress, "/closed/stream")
    lines = []
    with httpx.stream("GET", address, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as answer:
        replica.go_on.set()
        for line in answer.iter_lines():
            lines.append(line)
            replica.go_on.set()
    replica.go_on.clear()

    assert httpx.get(address, timeout=60).status_code == 401
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
