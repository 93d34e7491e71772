"""HTTP as no library would send it: bytes on a socket, for HTTP/1 and, with prior knowledge, HTTP/2."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

Headers = Iterable[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
_FRAME = 16384
_STATUSES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # in HPACK's table


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 where there was no answer at all."""

    status: int
    head: str
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value, of an answer over HTTP/1."""
        found = re.search(rf"^{name}: (.*)$", self.head, re.MULTILINE | re.IGNORECASE)
        return found[1].strip() if found else None

    @property
    def text(self) -> str:
        return self.body.decode()


def http1(port: int, *parts: bytes, method: str = "GET", timeout_s: float = 20) -> Answer:
    """Send these bytes in one go each, and read one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
        return read_answer(client, method)


def read_answer(client: socket.socket, method: str = "GET") -> Answer:
    """One answer of HTTP/1 with a Content-Length, in chunks or up to the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = _received(client)
        if not received:
            return Answer(0, "", data)
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    answer = Answer(int(head.split()[1]), head.decode("latin-1"), b"")
    length = answer.header("content-length")
    if answer.status == 101 or method == "HEAD":
        return Answer(answer.status, answer.head, body)
    if length is not None:
        while len(body) < int(length) and (received := _received(client)):
            body += received
        return Answer(answer.status, answer.head, body[: int(length)])
    chunked = "chunked" in (answer.header("transfer-encoding") or "")
    while not (chunked and body.endswith(b"0\r\n\r\n")) and (received := _received(client)):
        body += received
    return Answer(answer.status, answer.head, b"".join(_chunks(body)) if chunked else body)


def http2(
    port: int,
    headers: Headers,
    body: bytes | None = None,
    trailers: Headers = (),
    *,
    method: str = "GET",
    path: str = "/",
    authority: str = "localhost",
    timeout_s: float = 60,
) -> Answer:
    """Send one request over HTTP/2 without TLS, and read its answer; its ``head`` is the header block as it came."""
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
    after = list(trailers)
    frames = header_frames([*pseudo, *headers], end=body is None and not after)
    if body is not None:
        frames += frame(DATA, 0 if after else END_STREAM, body)
    if after:
        frames += header_frames(after, end=True)
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:
        client.sendall(PREFACE + frame(SETTINGS, 0, b"", stream=0) + frames)
        with client.makefile("rb") as reader:
            return _read_http2(client, reader)


def _read_http2(client: socket.socket, reader: BinaryIO) -> Answer:
    block, body = b"", b""
    while True:
        kind, flags, stream, payload = read_frame(reader)
        if kind == SETTINGS and not flags & ACK:
            client.sendall(frame(SETTINGS, ACK, b"", stream=0))
        elif kind in (RST, GOAWAY, -1):
            return Answer(status_of(block), block.decode("latin-1"), body)
        elif stream == 1:
            if kind in (HEADERS, CONTINUATION) and not body:
                block += payload
            elif kind == DATA:
                body += payload
                grown = struct.pack("!I", len(payload))
                if payload:
                    client.sendall(frame(8, 0, grown, stream=0) + frame(8, 0, grown))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return Answer(status_of(block), block.decode("latin-1"), body)


def status_of(block: bytes) -> int:
    while block[:1] and block[0] & 0xE0 == 0x20:  # a change of the table's size
        block = block[1:]
    if not block:
        return 0
    if block[0] & 0x80:
        return _STATUSES[block[0] & 0x7F]
    return int(block[2:5])


def header_frames(headers: Headers, *, end: bool) -> bytes:
    block = b"".join(
        b"\x00" + text(name.encode("latin-1")) + text(value.encode("latin-1")) for name, value in headers
    )
    pieces = [block[start : start + _FRAME] for start in range(0, len(block), _FRAME)]
    last = len(pieces) - 1
    return b"".join(
        frame(
            CONTINUATION if number else HEADERS,
            (END_HEADERS if number == last else 0) | (END_STREAM if end and not number else 0),
            piece,
        )
        for number, piece in enumerate(pieces)
    )


def text(text: bytes) -> bytes:
    """A string as it is, with its length in a prefix of seven bits."""
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    prefix, rest = b"\x7f", length - 127
    while rest >= 128:
        prefix += bytes([rest % 128 + 128])
        rest //= 128
    return prefix + bytes([rest]) + text


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def read_frame(reader: BinaryIO) -> tuple[int, int, int, bytes]:
    with contextlib.suppress(ConnectionError):
        head = reader.read(9)
        if len(head) == 9:
            kind, flags, stream = struct.unpack("!BBI", head[3:])
            return kind, flags, stream, reader.read(int.from_bytes(head[:3], "big"))
    return -1, 0, 0, b""


def _received(client: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return client.recv(1 << 16)
    return b""


def _chunks(body: bytes) -> Iterable[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
