"""HTTP/2 as no client should send it: each has its answer, an app gets whole requests only, and floods cost little."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from flyteray._ingress.haproxy import process
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import RawReplica, answered
from tests.integration.raw_http import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST,
    SETTINGS,
    frame,
    header_frames,
    read_frame,
    status_of,
)

PRIORITY, PUSH_PROMISE, PING, WINDOW_UPDATE = 2, 5, 6, 8
PSEUDO = {":method": "GET", ":scheme": "http", ":path": "/app/", ":authority": "localhost"}


def talk(port: int, sent: bytes, answers: int = 1) -> list[str]:
    """What the ingress says to these frames: statuses, resets of streams with their codes, the connection's end."""
    said: list[str] = []
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
        client.makefile("rb") as reader,
    ):
        client.sendall(PREFACE + frame(SETTINGS, 0, b"", stream=0) + sent)
        while len(said) < answers:
            kind, _, _, payload = read_frame(reader)
            if kind == HEADERS:
                said.append(str(status_of(payload)))
            elif kind == RST:
                said.append(f"reset {int.from_bytes(payload, 'big')}")
            elif kind in (GOAWAY, -1):  # whose word is lost where something else was on its way
                said.append("ends")
    return said or ["ends"]


def asks(*headers: tuple[str, str], end: bool = True, stream: int = 1, **pseudo: str | None) -> bytes:
    """A request; a pseudo-header that is given as None is left out."""
    told = {**PSEUDO, **{f":{name}": value for name, value in pseudo.items()}}
    block = [(name, value) for name, value in told.items() if value is not None]
    return numbered(header_frames([*block, *headers], end=end), stream)


def numbered(frames: bytes, stream: int) -> bytes:
    """The same frames on another stream."""
    out = b""
    while frames:
        length = 9 + int.from_bytes(frames[:3], "big")
        out += frames[:5] + struct.pack("!I", stream) + frames[9:length]
        frames = frames[length:]
    return out


def posts(*headers: tuple[str, str], data: bytes = b"abc", after: Iterable[tuple[str, str]] = ()) -> bytes:
    trailers = list(after)
    sent = asks(*headers, end=False, method="POST") + frame(DATA, 0 if trailers else END_STREAM, data)
    return sent + (header_frames(trailers, end=True) if trailers else b"")


def ping(payload: bytes = b"12345678", stream: int = 0) -> bytes:
    return frame(PING, 0, payload, stream=stream)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs), stream=0)


CASES: dict[str, tuple[bytes, list[str], list[str]]] = {
    "plain": (asks(), ["200"], ["GET /"]),
    "with body": (posts(), ["200"], ["POST /"]),
    "upper-case name": (asks(("X-Odd", "1")), ["reset 1"], []),
    "name with a space": (asks(("x odd", "1")), ["reset 1"], []),
    "name with a colon": (asks(("x:odd", "1")), ["reset 1"], []),
    "name with a line end": (asks(("x\r\nodd", "1")), ["reset 1"], []),
    "name with nul": (asks(("x\0odd", "1")), ["reset 1"], []),
    "name that is empty": (asks(("", "1")), ["ends"], []),
    "value with a line end": (asks(("x-odd", "1\r\nx-more: 2")), ["reset 1"], []),
    "value with a line feed": (asks(("x-odd", "1\nx-more: 2")), ["reset 1"], []),
    "value with nul": (asks(("x-odd", "1\x00")), ["reset 1"], []),
    "value with a space in front": (asks(("x-odd", " 1")), ["200"], ["GET /"]),
    "value that smuggles": (
        asks(("x-odd", "1\r\n\r\nGET /app/smuggled HTTP/1.1\r\nHost: localhost")),
        ["reset 1"],
        [],
    ),
    "connection": (asks(("connection", "close")), ["reset 1"], []),
    "keep-alive": (asks(("keep-alive", "1")), ["reset 1"], []),
    "proxy-connection": (asks(("proxy-connection", "close")), ["reset 1"], []),
    "upgrade": (asks(("upgrade", "websocket")), ["reset 1"], []),
    "transfer-encoding": (posts(("transfer-encoding", "chunked")), ["reset 1"], []),
    "te trailers": (asks(("te", "trailers")), ["200"], ["GET /"]),
    "te gzip": (asks(("te", "gzip")), ["reset 1"], []),
    "no method": (asks(method=None), ["reset 1"], []),
    "no path": (asks(path=None), ["reset 1"], []),
    "no scheme": (asks(scheme=None), ["reset 1"], []),
    "no authority": (asks(authority=None), ["200"], ["GET /"]),
    "no authority but host": (asks(("host", "localhost"), authority=None), ["200"], ["GET /"]),
    "method twice": (asks((":method", "POST")), ["reset 1"], []),
    "path twice": (asks((":path", "/other/")), ["reset 1"], []),
    "authority twice": (asks((":authority", "evil.example")), ["reset 1"], []),
    "pseudo-header of an answer": (asks((":status", "200")), ["reset 1"], []),
    "pseudo-header that is unknown": (asks((":odd", "1")), ["reset 1"], []),
    "pseudo-header behind the others": (
        asks(("x-odd", "1"), (":path", "/app/"), path=None),
        ["reset 1"],
        [],
    ),
    "path that is empty": (asks(path=""), ["reset 1"], []),
    "path without a slash": (asks(path="app/"), ["reset 1"], []),
    "path with a space": (asks(path="/app/a b"), ["reset 1"], []),
    "path with a line end": (asks(path="/app/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"), ["reset 1"], []),
    "path with a fragment": (asks(path="/app/#x"), ["reset 1"], []),
    "path with nul": (asks(path="/app/\0"), ["reset 1"], []),
    "path with eight bits": (asks(path="/app/\xff"), ["400"], []),
    "path that is a URL": (asks(path="http://evil.example/app/"), ["reset 1"], []),
    "path star": (asks(path="*"), ["404"], []),
    "path star of options": (asks(path="*", method="OPTIONS"), ["404"], []),
    "path with two slashes": (asks(path="//app/"), ["404"], []),
    "path with dots": (asks(path="/app/../other"), ["200"], ["GET /../other"]),
    "method with a space": (asks(method="GET /app/smuggled HTTP/1.1\r\nx: "), ["reset 1"], []),
    "method that is empty": (asks(method=""), ["reset 1"], []),
    "method in lower case": (asks(method="get"), ["200"], ["get /"]),
    "method with a slash": (asks(method="GET/x"), ["400"], []),
    "scheme of a file": (asks(scheme="file"), ["200"], ["GET /"]),
    "scheme with a line end": (asks(scheme="http\r\nx: 1"), ["reset 1"], []),
    "scheme with a host": (asks(scheme="http://evil.example/x?"), ["400"], []),
    "authority with a user": (asks(authority="a:b@localhost"), ["reset 1"], []),
    "authority with a path": (asks(authority="localhost/app"), ["reset 1"], []),
    "authority with a space": (asks(authority="local host"), ["reset 1"], []),
    "authority with a line end": (asks(authority="localhost\r\nx: 1"), ["reset 1"], []),
    "authority that is empty": (asks(authority=""), ["200"], ["GET /"]),
    "authority that nobody named": (asks(authority="evil.example"), ["421"], []),
    "host beside the authority": (asks(("host", "localhost")), ["200"], ["GET /"]),
    "another host beside the authority": (asks(("host", "evil.example")), ["200"], ["GET /"]),
    "two hosts": (asks(("host", "localhost"), ("host", "evil.example"), authority=None), ["200"], ["GET /"]),
    "connect": (asks(method="CONNECT", path=None, scheme=None, authority="localhost:80"), ["405"], []),
    "connect with a path": (asks(method="CONNECT"), ["reset 1"], []),
    "connect with another protocol": (
        asks((":protocol", "odd"), method="CONNECT", end=False),
        ["200"],
        ["GET /"],
    ),
    "protocol without connect": (asks((":protocol", "websocket")), ["reset 1"], []),
    "trace": (asks(method="TRACE"), ["405"], []),
    "content-length fits": (posts(("content-length", "3")), ["200"], ["POST /"]),
    "content-length too small": (posts(("content-length", "2")), ["reset 1"], []),
    "content-length too large": (posts(("content-length", "9")), ["reset 1"], []),
    "content-length without a body": (asks(("content-length", "3")), ["reset 1"], []),
    "content-length negative": (posts(("content-length", "-3")), ["reset 1"], []),
    "content-length plus": (posts(("content-length", "+3")), ["reset 1"], []),
    "content-length in words": (posts(("content-length", "three")), ["reset 1"], []),
    "content-length twice the same": (
        posts(("content-length", "3"), ("content-length", "3")),
        ["200"],
        ["POST /"],
    ),
    "content-length twice": (posts(("content-length", "3"), ("content-length", "30")), ["reset 1"], []),
    "content-length as a list": (posts(("content-length", "3, 30")), ["reset 1"], []),
    "content-length huge": (posts(("content-length", "9" * 30)), ["reset 1"], []),
    "trailers": (posts(after=[("x-after", "1")]), ["200"], ["POST /"]),
    "trailers with a length": (posts(after=[("content-length", "3")]), ["reset 2"], []),
    "trailers with an encoding": (posts(after=[("transfer-encoding", "chunked")]), ["reset 2"], []),
    "trailers with a pseudo-header": (posts(after=[(":path", "/other/")]), ["reset 2"], []),
    "trailers with an upper-case name": (posts(after=[("X-Odd", "1")]), ["reset 2"], []),
    "trailers that do not end": (
        asks(end=False, method="POST")
        + frame(DATA, 0, b"abc")
        + header_frames([("x-after", "1")], end=False),
        ["ends"],
        [],
    ),
    "body in padding": (
        asks(end=False, method="POST") + frame(DATA, END_STREAM | 8, b"\x03abc\0\0\0"),
        ["200"],
        ["POST /"],
    ),
    "padding longer than its frame": (
        asks(end=False, method="POST") + frame(DATA, END_STREAM | 8, b"\xffabc"),
        ["ends"],
        [],
    ),
    "data on no stream": (frame(DATA, 0, b"abc", stream=0), ["ends"], []),
    "data on a stream that is not open": (frame(DATA, 0, b"abc", stream=5), ["ends"], []),
    "data behind the end": (asks() + frame(DATA, 0, b"abc"), ["reset 5"], []),
    "headers on no stream": (asks(stream=0), ["ends"], []),
    "headers on a stream of the server's": (asks(stream=2), ["ends"], []),
    "headers on an earlier stream": (asks(stream=5) + asks(stream=3), ["ends"], []),
    "headers that depend on themselves": (
        frame(HEADERS, END_STREAM | END_HEADERS | 0x20, b"\0\0\0\1\x10" + asks()[9:]),
        ["ends"],
        [],
    ),
    "continuation of nothing": (frame(CONTINUATION, END_HEADERS, b""), ["ends"], []),
    "headers that are interrupted": (frame(HEADERS, END_STREAM, asks()[9:20]) + ping(), ["ends"], []),
    "headers that end in the middle": (frame(HEADERS, END_STREAM | END_HEADERS, asks()[9:20]), ["ends"], []),
    "index of no header": (frame(HEADERS, END_STREAM | END_HEADERS, b"\xff\xff\xff\x7f"), ["ends"], []),
    "index zero": (frame(HEADERS, END_STREAM | END_HEADERS, b"\x80"), ["ends"], []),
    "table larger than agreed": (
        frame(HEADERS, END_STREAM | END_HEADERS, b"\x3f\xe1\xff\x7f" + asks()[9:]),
        ["ends"],
        [],
    ),
    "text longer than its block": (
        frame(HEADERS, END_STREAM | END_HEADERS, b"\0\x7f\xff\xff\xff\x7fx"),
        ["ends"],
        [],
    ),
    "no headers": (frame(HEADERS, END_STREAM | END_HEADERS, b""), ["ends"], []),
    "window by nothing": (
        asks(end=False, method="POST") + frame(WINDOW_UPDATE, 0, b"\0\0\0\0"),
        ["reset 1"],
        [],
    ),
    "window of the connection by nothing": (frame(WINDOW_UPDATE, 0, b"\0\0\0\0", stream=0), ["ends"], []),
    "window beyond its end": (frame(WINDOW_UPDATE, 0, b"\x7f\xff\xff\xff", stream=0), ["ends"], []),
    "window of odd length": (frame(WINDOW_UPDATE, 0, b"\0\0\1", stream=0), ["ends"], []),
    "settings of odd length": (frame(SETTINGS, 0, b"12345", stream=0), ["ends"], []),
    "settings on a stream": (frame(SETTINGS, 0, b"", stream=1), ["ends"], []),
    "settings said to be taken, with some": (frame(SETTINGS, ACK, b"\0\1\0\0\0\0", stream=0), ["ends"], []),
    "settings with a window too large": (settings((4, 1 << 31)), ["ends"], []),
    "settings with a frame too small": (settings((5, 100)), ["ends"], []),
    "settings that are unknown": (settings((0xFF, 1)) + asks(), ["200"], ["GET /"]),
    "push": (frame(PUSH_PROMISE, END_HEADERS, b"\0\0\0\2" + asks()[9:]), ["ends"], []),
    "ping of odd length": (ping(b"1234567"), ["ends"], []),
    "ping on a stream": (ping(stream=1), ["ends"], []),
    "priority on itself": (
        asks(end=False, method="POST") + frame(PRIORITY, 0, b"\0\0\0\1\x10"),
        ["ends"],
        [],
    ),
    "priority of odd length": (asks(end=False, method="POST") + frame(PRIORITY, 0, b"\0\0\0"), ["ends"], []),
    "reset of nothing": (frame(RST, 0, b"\0\0\0\0", stream=7), ["ends"], []),
    "reset of odd length": (asks(end=False, method="POST") + frame(RST, 0, b"\0\0"), ["ends"], []),
    "frame larger than usual": (
        asks(end=False, method="POST") + frame(DATA, END_STREAM, b"x" * 20_000),
        ["200"],
        ["POST /"],
    ),
    "frame of an unknown kind": (frame(0xEE, 0, b"odd", stream=0) + asks(), ["200"], ["GET /"]),
    "another preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ["ends"], []),
}


@pytest.fixture(scope="module")
def replica() -> Iterator[RawReplica]:
    large = answered(b"x" * 2_000_000)
    replica = RawReplica(lambda request: large if b"/large" in request else answered(request))
    yield replica
    replica.stop()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ingress")


@pytest.fixture(scope="module")
def ingress(directory: Path) -> Iterator[Ingress]:
    ingress = Ingress(directory, watched=os.getpid())
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def port(ingress: Ingress, replica: RawReplica) -> int:
    ingress.apply(IngressState({"app": 0}, {0: {1: replica.slot}}))
    return ingress.port()


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_request_has_its_answer(port: int, replica: RawReplica, name: str) -> None:
    sent, says, arrive = CASES[name]
    before = len(replica.requests)
    said = talk(port, sent, len(says))
    lines = [request.partition(b"\r\n")[0].decode("latin-1") for request in replica.requests[before:]]

    assert (said, [line.rpartition(" ")[0] for line in lines]) == (says, arrive)
    for each in replica.requests[before:]:
        head, _, body = each.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head:
            assert body.endswith(b"\r\n0\r\n\r\n")  # no trailers
        else:
            [length] = re.findall(rb"content-length: (\d+)", head) or [b"0"]
            assert len(body) == int(length)
        assert head.count(b"\r\nhost: ") <= 1
        assert b"evil" not in head


def many(make: Callable[[int], bytes], count: int) -> bytes:
    """What a client sends of so many streams, by their numbers."""
    return b"".join(make(2 * number + 1) for number in range(count))


def bomb() -> bytes:
    """Headers that are 16 MB once they are taken apart."""
    entry = b"\x40\x05x-odd\x7f\xa1\x1e" + b"v" * 4000
    return frame(HEADERS, END_STREAM | END_HEADERS, asks()[9:] + entry + b"\xbe" * 4000)


FLOODS: dict[str, Callable[[], bytes]] = {
    "requests that are reset at once": lambda: many(
        lambda stream: asks(stream=stream) + frame(RST, 0, b"\0\0\0\x08", stream=stream), 20_000
    ),
    "settings": lambda: settings((4, 65535)) * 100_000,
    "pings": lambda: ping() * 100_000,
    "data without any": lambda: asks(end=False, method="POST") + frame(DATA, 0, b"") * 100_000,
    "headers that never end": lambda: (
        frame(HEADERS, END_STREAM, asks()[9:]) + frame(CONTINUATION, 0, b"\0\1x\1y" * 3000) * 2000
    ),
    "continuations without any": lambda: (
        frame(HEADERS, END_STREAM, asks()[9:]) + frame(CONTINUATION, 0, b"") * 100_000
    ),
    "a megabyte of headers": lambda: asks(*((f"x-{number}", "y" * 1000) for number in range(1000))),
    "headers that grow": bomb,
    "more requests than agreed": lambda: many(
        lambda stream: asks(stream=stream, end=False, method="POST"), 1000
    ),
    "answers that are not taken": lambda: (
        settings((4, 0)) + many(lambda stream: asks(stream=stream, path="/app/large"), 100)
    ),
    "a window that grows by one": lambda: (
        settings((4, 0)) + asks(path="/app/large") + frame(WINDOW_UPDATE, 0, b"\0\0\0\1") * 50_000
    ),
    "priorities": lambda: many(lambda stream: frame(PRIORITY, 0, b"\0\0\0\0\x10", stream=stream), 100_000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_no_memory_and_others_are_served(
    ingress: Ingress, directory: Path, port: int, replica: RawReplica, name: str
) -> None:
    found = process.running(directory)
    assert found is not None
    [master] = psutil.Process(found.pid).children()
    [worker] = master.children()
    before = worker.memory_info().rss, len(replica.requests)

    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(PREFACE + frame(SETTINGS, 0, b"", stream=0) + FLOODS[name]())
        assert talk(port, asks()) == ["200"]
        grown = worker.memory_info().rss - before[0]

    assert grown < 64 << 20
    assert len(replica.requests) - before[1] <= 102  # those of a connection at one time, and two
