"""Nothing that a client sends, by whatever spelling or place, is what an app reads as the ingress's word."""

from __future__ import annotations

import pytest

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import RawReplica
from tests.integration.raw_http import http1, http2

TOLD = {
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-request-id",
    "x-flyteray-replica",
}
FORGED = [
    *(
        "X-Flyteray-User",
        "X-Flyteray_User",
        "X_Flyteray-User",
        "X_Flyteray_User",
        "x.flyteray.user",
        "X~Flyteray!User",
    ),
    *("X-Flyteray-Client", "X-Forwarded-For", "X_Forwarded-For", "X-Forwarded_For", "x-FORWARDED-proto"),
    *("X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded", "Forwarded", "X-Real-IP"),
    *(
        "X-Real_IP",
        "X-Client-IP",
        "X-Original-URL",
        "X-Rewrite-Url",
        "X-Script-Name",
        "SCRIPT_NAME",
        "PATH_INFO",
    ),
    *("Remote-User", "X-Remote-User", "Proxy", "Content_Length", "Transfer_Encoding"),
]
TRAILERS = [("x-flyteray-user", "bob"), ("x-forwarded-for", "6.6.6.6"), ("x-forwarded-host", "evil")]


@pytest.fixture(scope="module")
def port(ingress: Ingress, replica: RawReplica) -> int:
    ingress.apply(IngressState({"app": 0, "other": 0}, {0: {1: replica.slot}}))
    return ingress.port()


def names(request: bytes) -> set[str]:
    """Of the headers that arrived."""
    return {line.partition(b":")[0].decode() for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}


def lines(headers: list[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode()


@pytest.mark.parametrize("version", [1, 2])
def test_no_spelling_of_a_header_is_believed(port: int, replica: RawReplica, version: int) -> None:
    for name in FORGED:
        if version == 1:
            answer = http1(port, f"GET /app/ HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n{name}: 2\r\n\r\n".encode())
        else:
            answer = http2(port, [(name.lower(), "1"), (name.lower(), "2")], path="/app/", authority="a")

        assert answer.status == 200, name
        assert names(replica.requests[-1]) == {"host", *TOLD}, name
        assert b"x-forwarded-for: 127.0.0.1\r\n" in replica.requests[-1], name


def test_other_headers_of_every_spelling_pass(port: int, replica: RawReplica) -> None:
    own = ["api_key", "X_Mine", "X-Forward", "x-forwardedness", "X-Flyte-Id", "Original-Url", "X-Request-Id"]
    http1(port, b"GET /app/ HTTP/1.1\r\nHost: a\r\n" + lines([(name, "1") for name in own]) + b"\r\n")

    assert names(replica.requests[-1]) == {"host", *TOLD, *map(str.lower, own)}


@pytest.mark.parametrize("body", [b"", b"abc", b"x" * 300_000])
@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_comes_after_a_body_in_chunks_does_not_arrive(
    port: int, replica: RawReplica, body: bytes, pause: bool, method: str
) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    head = f"{method} /app/ HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    end = b"0\r\n" + lines(TRAILERS) + b"\r\n"
    arrived = len(replica.requests)

    answer = http1(port, *((head, chunk, end) if pause else (head + chunk + end,)))

    [request] = replica.requests[arrived:]
    assert answer.status == 200
    assert names(request) <= {"host", "trailer", "content-length", "transfer-encoding", *TOLD}
    assert b"x-flyteray-user" not in request
    assert b"6.6.6.6" not in request
    assert request.count(b"x") >= len(body.strip(b"abc"))


@pytest.mark.parametrize("body", [None, b"", b"abc"])
@pytest.mark.parametrize("length", [False, True])
def test_trailers_of_http2_do_not_arrive(
    port: int, replica: RawReplica, body: bytes | None, length: bool
) -> None:
    headers = [("content-length", str(len(body or b"")))] if length else []
    answer = http2(port, headers, body, TRAILERS, method="POST", path="/app/")

    assert answer.status == 200
    assert b"bob" not in replica.requests[-1]
    assert b"6.6.6.6" not in replica.requests[-1]
    assert replica.requests[-1].endswith(body or b"\r\n\r\n") or b"chunked" in replica.requests[-1]


@pytest.mark.parametrize(
    "named", ["X-Forwarded-For", "close, X-Flyteray-User", "keep-alive, x-forwarded-host", "TE, x"]
)
def test_no_server_is_told_to_take_a_header_away(port: int, replica: RawReplica, named: str) -> None:
    http1(port, f"GET /app/ HTTP/1.1\r\nHost: a\r\nConnection: {named}\r\n\r\n".encode())

    assert b"connection" not in replica.requests[-1]
    assert names(replica.requests[-1]) >= TOLD


def test_a_websocket_asks_for_nothing_but_itself(port: int, replica: RawReplica) -> None:
    asks = b"Connection: Upgrade, X-Forwarded-For\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    http1(port, b"GET /app/ws HTTP/1.1\r\nHost: a\r\n" + asks + key + b"\r\n")

    assert b"connection: upgrade\r\n" in replica.requests[-1]
    assert names(replica.requests[-1]) >= {"upgrade", *TOLD}


def test_no_one_changes_to_http2_behind_the_ingress(port: int, replica: RawReplica) -> None:
    asks = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    )
    http1(port, b"GET /app/ HTTP/1.1\r\nHost: a\r\n" + asks + b"\r\n")

    assert names(replica.requests[-1]) == {"host", *TOLD}


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /app/ HTTP/1.1\r\nHost: a\r\nX-Flyteray-User : bob\r\n\r\n",
        b"GET /app/ HTTP/1.1\r\n X-Flyteray-User: bob\r\nHost: a\r\n\r\n",
        b"GET /app/ HTTP/1.1\r\nHost: a\r\n: bob\r\n\r\n",
        b"GET /app/ HTTP/1.1\r\nHost: a\r\nX-A: b\rX-Flyteray-User: bob\r\n\r\n",
        b"GET /app/ HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: app.localhost\r\nHost: other.localhost\r\n\r\n",
        b"GET http://app.localhost/x HTTP/1.1\r\nHost: other.localhost\r\n\r\n",
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nab",
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST /app/ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PROXY TCP4 6.6.6.6 1.1.1.1 1 2\r\nGET /app/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\6\6\6\6\1\1\1\1\0\1\0\1GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT app.localhost:80 HTTP/1.1\r\nHost: app.localhost:80\r\n\r\n",
    ],
)
def test_what_two_servers_may_read_in_two_ways_is_refused(
    port: int, replica: RawReplica, request_: bytes
) -> None:
    arrived = len(replica.requests)

    assert http1(port, request_).status in (400, 405)
    assert len(replica.requests) == arrived


def test_of_two_lengths_the_chunks_count_for_everybody(port: int, replica: RawReplica) -> None:
    arrived = len(replica.requests)
    smuggled = b"GET /app/ HTTP/1.1\r\nX-Flyteray-User: bob\r\n\r\n"
    http1(
        port,
        b"POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + smuggled,
    )

    assert not any(b"bob" in request for request in replica.requests[arrived:])


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        ("http://app.localhost/x?q=1", "/x?q=1"),
        ("http://app.localhost", "/"),
        ("//evil.example/x", "//evil.example/x"),
    ],
)
def test_an_app_is_asked_for_a_path_whatever_the_form_of_the_url(
    port: int, replica: RawReplica, asked: str, arrives: str
) -> None:
    http1(port, f"GET {asked} HTTP/1.1\r\nHost: app.localhost\r\n\r\n".encode())

    assert replica.requests[-1].startswith(f"GET {arrives} HTTP/1.1\r\n".encode())
    assert b"x-forwarded-host: app.localhost\r\n" in replica.requests[-1]


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Flyteray-User", "bob")],
        [("x-a", "b\r\nx-flyteray-user: bob")],
        [("x-a: b\r\nx-flyteray-user", "bob")],
        [("x-flyteray-user:", "bob")],
        [("transfer-encoding", "chunked")],
        [("connection", "x-forwarded-for")],
    ],
)
def test_what_http2_forbids_does_not_arrive(
    port: int, replica: RawReplica, headers: list[tuple[str, str]]
) -> None:
    arrived = len(replica.requests)

    assert http2(port, headers, path="/app/").status in (0, 400)
    assert len(replica.requests) == arrived
