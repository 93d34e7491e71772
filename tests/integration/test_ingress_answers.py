"""The ingress's own answers: as JSON where asked for, readable by pages of other origins; and its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import RawReplica, answered
from tests.integration.raw_http import Answer, http1, http2
from tests.waiting import eventually

PAGE = "Origin: https://page.example"
PREFLIGHT = (
    f"{PAGE}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization, x-a"
)


def replied(request: bytes) -> bytes | None:
    first = request.partition(b"\r\n")[0]
    if b"/fatal" in first:
        return None
    if b"/large" in first:
        return answered(b"", "X-Large: " + "x" * (64 << 10))
    if b"/many" in first:
        return answered(b"", *(f"X-{number}: x" for number in range(256)))
    if b"/huge" in first:
        return answered(b"", "X-Large: " + "x" * (200 << 10))
    return answered(str(len(request)).encode(), "X-App: yes")


@pytest.fixture(scope="module")
def replica() -> Iterator[RawReplica]:
    replica = RawReplica(replied)
    yield replica
    replica.stop()


@pytest.fixture(scope="module")
def port(ingress: Ingress, replica: RawReplica) -> int:
    apps = {"app": 0, "closed": 0, "halted": None, "first": None, "empty": 1}
    ingress.apply(
        IngressState(
            apps,
            {0: {1: replica.slot}},
            private=frozenset({"closed"}),
            coming=frozenset({"first"}),
            waits={"first": 1},
        )
    )
    return ingress.port()


def ask(port: int, path: str, headers: str = "", method: str = "GET") -> Answer:
    lines = f"{headers}\r\n" if headers else ""
    return http1(port, f"{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode(), method=method)


OWN = [
    ("/", 404, "names no app"),
    ('/no"such/', 404, "There is no app named 'no\"such'"),
    ("/closed/", 401, "asks for a key"),
    ("/halted/", 503, "is stopped"),
    ("/first/", 503, "has no replica ready"),
    ("/empty/", 503, "has no replica ready"),
    ("/app/fatal", 502, "broke the connection"),
    ("/app/huge", 502, "more than 68 KB"),
    ("/app/" + "x" * (100 << 10), 414, "The URL is too long"),
]


@pytest.mark.parametrize(("path", "status", "words"), OWN)
def test_an_error_is_text_or_json_and_can_be_read_by_pages(
    port: int, path: str, status: int, words: str
) -> None:
    text = ask(port, path, PAGE)
    as_json = ask(port, path, f"{PAGE}\r\nAccept: application/json, text/plain, */*")

    assert (text.status, as_json.status) == (status, status)
    assert words in text.text
    assert (text.header("content-type") or "").startswith("text/plain")
    assert words in json.loads(as_json.body)["error"]
    assert as_json.header("content-type") == "application/json"
    for answer in (text, as_json):
        assert answer.header("access-control-allow-origin") == "https://page.example"
        assert answer.header("access-control-allow-credentials") == "true"
        assert "Origin" in (answer.header("vary") or "")


@pytest.mark.parametrize("path", ["/closed/", "/empty/"])
@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/problem+json", True),
        ("text/html, Application/JSON ; q=0.5", True),
        ("application/json; charset=utf-8", True),
        ("text/plain, application/json; q=0", False),
        ("application/json;q=0.00", False),
        ("application/jsonlines, */*", False),
    ],
)
def test_json_is_for_who_takes_it(port: int, path: str, accept: str, is_json: bool) -> None:
    answer = ask(port, path, f"Accept: {accept}")

    assert (answer.header("content-type") == "application/json") == is_json


@pytest.mark.parametrize("path", ["/closed/x", "/app/x"])
def test_a_preflight_reaches_the_app_without_a_key(port: int, replica: RawReplica, path: str) -> None:
    answer = ask(port, path, PREFLIGHT, "OPTIONS")

    assert (answer.status, answer.header("x-app")) == (200, "yes")
    assert answer.header("access-control-allow-origin") is None  # that is the app's to say
    assert b"access-control-request-method: PUT\r\n" in replica.requests[-1]
    assert b"x-flyteray-user" not in replica.requests[-1]


@pytest.mark.parametrize(
    "headers",
    [
        "",
        PAGE,
        "Access-Control-Request-Method: PUT",
        f"{PREFLIGHT}\r\nContent-Length: 1\r\n\r\nx",
        f"{PREFLIGHT}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0",
        f"{PREFLIGHT}\r\nConnection: Upgrade\r\nUpgrade: websocket",
    ],
)
def test_what_only_looks_like_one_needs_the_key(port: int, headers: str) -> None:
    assert ask(port, "/closed/", headers, "OPTIONS").status in (400, 401)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD"])
def test_other_methods_need_the_key_whatever_they_say_of_their_origin(port: int, method: str) -> None:
    assert ask(port, "/closed/", PREFLIGHT, method).status == 401


@pytest.mark.parametrize("path", ["/nope/", "/halted/", "/empty/", "/app/fatal", "/first/"])
def test_a_preflight_that_no_app_answers_lets_the_page_ask_and_read_why(port: int, path: str) -> None:
    answer = ask(port, path, PREFLIGHT, "OPTIONS")

    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == "https://page.example"
    assert answer.header("access-control-allow-methods") == "PUT"
    assert answer.header("access-control-allow-headers") == "authorization, x-a"


def test_the_answers_of_an_app_are_its_own(port: int) -> None:
    answer = ask(port, "/app/x", f"{PAGE}\r\nAccept: application/json")

    told = [line for line in answer.head.lower().split("\r\n")[1:] if not line.startswith("x-request-id: ")]
    assert told == ["x-app: yes", f"content-length: {len(answer.body)}"]


@pytest.mark.parametrize("version", [1, 2])
def test_large_heads_pass_both_ways(port: int, replica: RawReplica, version: int) -> None:
    def status(path: str, headers: list[tuple[str, str]]) -> int:
        if version == 2:
            return http2(port, headers, path=path).status
        return ask(port, path, "\r\n".join(f"{name}: {value}" for name, value in headers)).status

    assert status("/app/", [("cookie", "x" * (64 << 10))]) == 200
    assert b"x" * (64 << 10) in replica.requests[-1]
    assert status("/app/" + "x" * (64 << 10), []) == 200
    assert status("/app/", [(f"x-{number}", "x" * 240) for number in range(256)]) == 200
    assert replica.requests[-1].count(b"\r\nx-") >= 256
    assert status("/app/large", []) == 200
    assert status("/app/many", []) == 200


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("cookie", "x" * (72 << 10))], 431),
        ([(f"x-{number}", "x") for number in range(600)], 431),
        ([(f"x-{number}", "x") for number in range(1000)], 431),
    ],
)
def test_a_head_beyond_the_limit_is_told_so(
    port: int, version: int, headers: list[tuple[str, str]], status: int
) -> None:
    headers = [("accept", "application/json"), *headers]
    if version == 2:
        answer = http2(port, headers, path="/app/")
    else:
        answer = ask(port, "/app/", "\r\n".join(f"{name}: {value}" for name, value in headers))

    assert answer.status == status
    assert "too large or too many" in json.loads(answer.body)["error"]


def test_large_heads_pass_also_while_the_app_wakes(ingress: Ingress, replica: RawReplica, port: int) -> None:
    asleep = IngressState({"app": 0}, waits={"app": 60_000})
    ingress.apply(asleep)
    with ThreadPoolExecutor(2) as pool:
        large = f"Cookie: {'x' * (64 << 10)}"
        asked = [pool.submit(ask, port, "/app/", large, method) for method in ("GET", "DELETE")]
        eventually(lambda: ingress.traffic([0])[0][0] == 2)
        ingress.apply(IngressState({"app": 0}, {0: {1: replica.slot}}, waits={"app": 60_000}))

        assert [each.result().status for each in asked] == [200, 200]
