"""Requests as no client should send them: each has its answer, and an app gets whole requests only, as they were meant.

What the ingress lets through it writes anew, so that no two servers can take it for different requests.
"""

from __future__ import annotations

import contextlib
import re
import socket

import pytest

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import RawReplica

ANSWER = re.compile(rb"(?:^|\r\n|\n)HTTP/1\.1 (\d+) ")
HOST = b"Host: localhost\r\n"
POST = b"POST /app/ HTTP/1.1"
SMUGGLED = b"GET /app/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"  # a request where others see a body


def asks(line: bytes = b"GET /app/ HTTP/1.1", heads: bytes = HOST, body: bytes = b"") -> bytes:
    return line + b"\r\n" + heads + b"\r\n" + body


CASES = [
    pytest.param(
        asks(POST, HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [200],
        ["POST /"],
        id="cl then te",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED),
        [200],
        ["POST /"],
        id="te then cl",
    ),
    pytest.param(
        asks(POST, HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
        [200],
        ["POST /"],
        id="two equal cl",
    ),
    pytest.param(
        asks(POST, HOST + b"Content-Length: 3\r\nContent-Length: 50\r\n", b"abc" + SMUGGLED),
        [400],
        [],
        id="two other cl",
    ),
    pytest.param(
        asks(POST, HOST + b"Content-Length: 3, 3\r\n", b"abc"), [200], ["POST /"], id="cl list equal"
    ),
    pytest.param(
        asks(POST, HOST + b"Content-Length: 3, 5\r\n", b"abc" + SMUGGLED), [400], [], id="cl list other"
    ),
    pytest.param(asks(POST, HOST + b"Content-Length: +3\r\n", b"abc"), [400], [], id="cl plus"),
    pytest.param(asks(POST, HOST + b"Content-Length: -3\r\n", b"abc"), [400], [], id="cl minus"),
    pytest.param(asks(POST, HOST + b"Content-Length: 0x3\r\n", b"abc"), [400], [], id="cl hex"),
    pytest.param(asks(POST, HOST + b"Content-Length:\r\n", b"abc"), [400], [], id="cl empty"),
    pytest.param(asks(POST, HOST + b"Content-Length: 1 0\r\n", b"abc"), [400], [], id="cl space inside"),
    pytest.param(
        asks(POST, HOST + b"Content-Length: 99999999999999999999999\r\n", b"abc"), [400], [], id="cl huge"
    ),
    pytest.param(asks(POST, HOST + b"Content-Length: 3.0\r\n", b"abc"), [400], [], id="cl float"),
    pytest.param(
        asks(POST, HOST + b"Content-Length : 3\r\n", b"abc" + SMUGGLED), [400], [], id="cl space before colon"
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te space before colon",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding:\tchunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        [200],
        ["POST /"],
        id="te tab",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        [200],
        ["POST /"],
        id="te upper",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te vtab",
    ),
    pytest.param(
        asks(POST, HOST + b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te quoted",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED), [400], [], id="te x"
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te identity",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n" + SMUGGLED), [400], [], id="te gzip"
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        [422],
        [],
        id="te gzip chunked",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te chunked gzip",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te chunked twice",
    ),
    pytest.param(
        asks(
            POST,
            HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            b"0\r\n\r\n" + SMUGGLED,
        ),
        [400],
        [],
        id="te two lines",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [422],
        [],
        id="te two lines x",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [200, 200],
        ["POST /", "GET /smuggled"],
        id="te folded",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
        [200],
        ["POST /"],
        id="te underscore",
    ),
    pytest.param(
        asks(b"POST /app/ HTTP/1.0", HOST + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        [400],
        [],
        id="te and 1.0",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"-3\r\nabc\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk negative",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk 0x",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk huge",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"\r\nabc\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk empty size",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk no end",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"3\nabc\n0\n\n"), [400], [], id="chunk lf"
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"3;a=b\r\nabc\r\n0\r\n\r\n"),
        [200],
        ["POST /"],
        id="chunk ext",
    ),
    pytest.param(
        asks(POST, HOST + b"Transfer-Encoding: chunked\r\n", b"3;a\n=b\r\nabc\r\n0\r\n\r\n"),
        [400],
        [],
        id="chunk ext lf",
    ),
    pytest.param(
        asks(b"GET /app/ HTTP/1.1", HOST + b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        [200],
        ["GET /"],
        id="get with body",
    ),
    pytest.param(asks() + SMUGGLED, [200, 200], ["GET /", "GET /smuggled"], id="two in one"),
    pytest.param(asks(b"GET /app/\rx HTTP/1.1"), [400], [], id="bare cr in line"),
    pytest.param(asks(heads=HOST + b"X: a\rb\r\n"), [400], [], id="bare cr in header"),
    pytest.param(b"GET /app/ HTTP/1.1\nHost: localhost\n\n", [200], ["GET /"], id="lf only"),
    pytest.param(asks(heads=HOST + b"Nonsense\r\n"), [400], [], id="header no colon"),
    pytest.param(asks(heads=HOST + b": x\r\n"), [400], [], id="header empty name"),
    pytest.param(asks(heads=HOST + b"X Y: x\r\n"), [400], [], id="header space name"),
    pytest.param(asks(heads=b" Host: localhost\r\n"), [400], [], id="header leading space"),
    pytest.param(asks(heads=HOST + b"X: a\r\n b\r\n"), [200], ["GET /"], id="header folded"),
    pytest.param(asks(heads=HOST + b"X: \xff\xfe\r\n"), [200], ["GET /"], id="header 8bit"),
    pytest.param(asks(heads=HOST + b"X\xff: a\r\n"), [400], [], id="header name 8bit"),
    pytest.param(asks(heads=HOST + b"X(Y): a\r\n"), [400], [], id="header paren"),
    pytest.param(asks(heads=b""), [200], ["GET /"], id="no host"),
    pytest.param(asks(heads=HOST + b"Host: evil.example\r\n"), [400], [], id="two hosts"),
    pytest.param(asks(heads=HOST + HOST), [200], ["GET /"], id="two equal hosts"),
    pytest.param(asks(heads=b"Host:\r\n"), [200], ["GET /"], id="host empty"),
    pytest.param(asks(heads=b"Host: localhost, evil.example\r\n"), [400], [], id="host comma"),
    pytest.param(asks(heads=b"Host: a@localhost\r\n"), [400], [], id="host userinfo"),
    pytest.param(asks(heads=b"Host: localhost/x\r\n"), [400], [], id="host path"),
    pytest.param(asks(heads=b"Host: local host\r\n"), [400], [], id="host space"),
    pytest.param(asks(heads=b"Host: localhost:abc\r\n"), [200], ["GET /"], id="host port letters"),
    pytest.param(asks(heads=b"Host: localhost:999999\r\n"), [200], ["GET /"], id="host port huge"),
    pytest.param(asks(heads=b'Host: localhost"\r\n'), [421], [], id="host quote"),
    pytest.param(asks(b"GET http://localhost/app/ HTTP/1.1"), [200], ["GET /"], id="absolute same"),
    pytest.param(asks(b"GET http://evil.example/app/ HTTP/1.1"), [400], [], id="absolute other host"),
    pytest.param(
        asks(b"GET http://evil.example/app/ HTTP/1.1", b"Host: localhost\r\n"),
        [400],
        [],
        id="absolute evil, fine host",
    ),
    pytest.param(
        asks(b"GET http://localhost/app/ HTTP/1.1", b"Host: evil.example\r\n"),
        [400],
        [],
        id="absolute fine, evil host",
    ),
    pytest.param(asks(b"GET http://a:b@localhost/app/ HTTP/1.1"), [200], ["GET /"], id="absolute userinfo"),
    pytest.param(asks(b"GET ftp://localhost/app/ HTTP/1.1"), [200], ["GET /"], id="absolute ftp"),
    pytest.param(asks(b"get /app/ HTTP/1.1"), [200], ["get /"], id="method lower"),
    pytest.param(asks(b"G@T /app/ HTTP/1.1"), [400], [], id="method odd"),
    pytest.param(asks(b" /app/ HTTP/1.1"), [400], [], id="method none"),
    pytest.param(asks(b"PURGE /app/ HTTP/1.1"), [200], ["PURGE /"], id="method unknown"),
    pytest.param(asks(b"CONNECT localhost:80 HTTP/1.1"), [405], [], id="connect"),
    pytest.param(asks(b"OPTIONS * HTTP/1.1"), [404], [], id="options star"),
    pytest.param(asks(b"TRACK /app/ HTTP/1.1"), [200], ["TRACK /"], id="track"),
    pytest.param(b"GET /app/\r\n\r\n", [400], [], id="version 0.9"),
    pytest.param(asks(b"GET /app/ HTTP/1.2"), [200], ["GET /"], id="version 1.2"),
    pytest.param(asks(b"GET /app/ HTTP/2.0"), [200], ["GET /"], id="version 2.0"),
    pytest.param(asks(b"GET /app/ HTTP/1.10"), [400], [], id="version 1.10"),
    pytest.param(asks(b"GET /app/ http/1.1"), [400], [], id="version lower"),
    pytest.param(asks(b"GET /app/ FTP/1.1"), [400], [], id="version none"),
    pytest.param(asks(b"GET  /app/ HTTP/1.1"), [200], ["GET /"], id="two spaces"),
    pytest.param(asks(b"GET\t/app/\tHTTP/1.1"), [200], ["GET /"], id="tab"),
    pytest.param(asks(b"GET /app/a b HTTP/1.1"), [400], [], id="space in path"),
    pytest.param(asks(b"GET app/ HTTP/1.1"), [404], [], id="path no slash"),
    pytest.param(asks(b"GET  HTTP/1.1"), [400], [], id="path empty"),
    pytest.param(asks(b"GET * HTTP/1.1"), [404], [], id="path star"),
    pytest.param(asks(b"GET /app/#x HTTP/1.1"), [400], [], id="path fragment"),
    pytest.param(asks(b"GET /app\\x HTTP/1.1"), [404], [], id="path backslash"),
    pytest.param(asks(b"GET /app/../other HTTP/1.1"), [200], ["GET /../other"], id="path dots"),
    pytest.param(
        asks(b"GET /app/%2e%2e/other HTTP/1.1"), [200], ["GET /%2e%2e/other"], id="path encoded dots"
    ),
    pytest.param(asks(b"GET /app%2fother HTTP/1.1"), [404], [], id="path encoded slash"),
    pytest.param(asks(b"GET /other/../app/ HTTP/1.1"), [404], [], id="path other dots"),
    pytest.param(asks(b"GET //app/ HTTP/1.1"), [404], [], id="path double slash"),
    pytest.param(asks(b"GET /app;x=1/ HTTP/1.1"), [404], [], id="path semicolon"),
    pytest.param(asks(b"GET /app/%zz HTTP/1.1"), [200], ["GET /%zz"], id="path percent"),
    pytest.param(asks(b"GET /app/%00 HTTP/1.1"), [200], ["GET /%00"], id="path percent nul"),
    pytest.param(asks(b"GET /app/%0d%0aX:1 HTTP/1.1"), [200], ["GET /%0d%0aX:1"], id="path crlf"),
    pytest.param(asks(b"GET /app/\xff HTTP/1.1"), [400], [], id="path 8bit"),
    pytest.param(asks(b'GET /app/"<> HTTP/1.1'), [200], ['GET /"<>'], id="path quote"),
    pytest.param(
        asks(POST, HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"abc"),
        [200],
        ["POST /"],
        id="expect 100",
    ),
    pytest.param(
        asks(POST, HOST + b"Expect: x\r\nContent-Length: 3\r\n", b"abc"), [200], ["POST /"], id="expect other"
    ),
    pytest.param(
        asks(
            heads=HOST
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
        ),
        [200],
        ["GET /"],
        id="upgrade h2c",
    ),
    pytest.param(
        asks(
            POST,
            HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n" % len(SMUGGLED),
            SMUGGLED,
        ),
        [400],
        [],
        id="upgrade with body",
    ),
    pytest.param(asks(heads=HOST + b"Connection: Host\r\n"), [200], ["GET /"], id="connection close header"),
    pytest.param(b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n" + asks(), [400], [], id="proxy line"),
    pytest.param(b"\r\n\r\n" + asks(), [200], ["GET /"], id="empty lines first"),
]


@pytest.fixture(scope="module")
def port(ingress: Ingress, replica: RawReplica) -> int:
    ingress.apply(IngressState({"app": 0}, {0: {1: replica.slot}}))
    return ingress.port()


@pytest.mark.parametrize(("request_", "statuses", "arrive"), CASES)
def test_a_hostile_request_has_its_answer(
    port: int, replica: RawReplica, request_: bytes, statuses: list[int], arrive: list[str]
) -> None:
    before = len(replica.requests)
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request_)
        while len(ANSWER.findall(said)) < len(statuses):
            received = client.recv(1 << 16)
            assert received, said
            said += received
        client.settimeout(0.02)  # nothing more comes
        with contextlib.suppress(TimeoutError, ConnectionError):
            said += client.recv(1 << 16)

    arrived = [
        request.partition(b"\r\n")[0].decode().rpartition(" ")[0] for request in replica.requests[before:]
    ]
    assert ([int(status) for status in ANSWER.findall(said)], arrived) == (statuses, arrive)
    for each in replica.requests[before:]:
        head, _, body = each.partition(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: (\d+)", head) or [b"0"]
        assert b"transfer-encoding" not in head
        assert len(body) == int(length)
        assert head.count(b"\r\nhost: ") <= 1
