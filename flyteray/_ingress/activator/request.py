"""A request that waits at the activator: its head as HAProxy sent it, and what came of its body so far."""

from __future__ import annotations

import asyncio
import re
import struct
from dataclasses import dataclass, field

from flyteray._ingress.activator import frames
from flyteray._ingress.copies.marks import IS_COPY
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.answers import ASKS_JSON

_PROXY = struct.Struct("!12sBBH")  # signature, version and command, address family, length of the rest
_ADDRESSES = {0x11: 12, 0x21: 36, 0x31: 216}  # bytes by address family: IPv4, IPv6, UNIX
_FIELD = struct.Struct("!BH")  # type, length
_UNIQUE_ID = 0x05
_CHOSEN = re.compile(rb"(?im)^(%s: )[^\r]*" % maps.CHOSEN.encode())
_REPEATABLE = {"GET", "HEAD", "OPTIONS"}


@dataclass
class Request:
    """What waits; ``backend`` is None before there is one, and for a copy no other version's is as good.

    One ``over_http2`` has as its head the beginning of its connection, of which all the rest is its own.
    """

    backend: int | None
    app: str
    head: bytes
    over_http2: bool = False
    is_copy: bool = False
    body: bytearray = field(default_factory=bytearray)

    @property
    def method(self) -> str:
        """Its method, in HTTP/1."""
        return self.head.partition(b" ")[0].decode("latin-1")

    @property
    def is_repeatable(self) -> bool:
        """Whether HAProxy asks another replica when this connection ends unanswered, as its configuration says."""
        may = not self.over_http2 and self.method in _REPEATABLE
        return may and not self._headers & {b"content-length", b"transfer-encoding"}

    @property
    def is_chunked(self) -> bool:
        """Whether its body comes in chunks: HAProxy knows no other encoding."""
        return not self.over_http2 and b"transfer-encoding" in self._headers

    @property
    def _headers(self) -> set[bytes]:
        return {line.partition(b":")[0].lower() for line in self.head.split(b"\r\n")[1:]}

    def choose(self, server: str) -> None:
        """Name the server that it goes to, as HAProxy does; HAProxy has named the activator."""
        if self.over_http2:
            self.head = frames.renamed(self.head, maps.CHOSEN, maps.ACTIVATOR_HTTP2, server)
        else:
            self.head = _CHOSEN.sub(rb"\g<1>" + server.encode(), self.head, count=1)

    @property
    def asks_for_json(self) -> bool:
        """Whether who asks prefers JSON to plain text."""
        lines = (line.lower().decode("latin-1") for line in self.head.split(b"\r\n")[1:])
        accepts = (line.removeprefix("accept:") for line in lines if line.startswith("accept:"))
        return any(re.match(ASKS_JSON, kind.strip()) for line in accepts for kind in line.split(","))


async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """A request up to its body; ValueError where it is none from HAProxy."""
    *_, family, length = _PROXY.unpack(await reader.readexactly(_PROXY.size))
    fields = (await reader.readexactly(length))[_ADDRESSES.get(family, 0) :]
    while fields:
        kind, size = _FIELD.unpack_from(fields)
        value, fields = fields[_FIELD.size : _FIELD.size + size], fields[_FIELD.size + size :]
        if kind == _UNIQUE_ID:
            backend, app, *rest = value.decode().split(" ")
            number = maps.backend_number(backend) if maps.is_backend(backend) else None
            head = await reader.readuntil(b"\r\n\r\n")
            is_copy, over_http2 = IS_COPY in rest, head == frames.PREFACE_BEGINS
            if over_http2:
                head = await _opening(reader, writer)
            return Request(number, app, head, over_http2, is_copy)
    raise ValueError("The connection does not say which app it is about.")


async def _opening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The beginning of a connection, up to the headers of its request, which come once settings are told."""
    writer.write(frames.SETTINGS)
    opening = frames.Opening()
    opening.begin(await reader.readexactly(opening.rest_of_preface))
    while not opening.is_complete:
        head = await reader.readexactly(frames.HEAD_BYTES)
        opening.take(head, await reader.readexactly(opening.length(head)))
    return bytes(opening.taken)
