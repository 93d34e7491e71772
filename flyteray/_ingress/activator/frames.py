"""Frames of HTTP/2, by which a connection begins that brings one request, as HAProxy opens it. No effects here.

HAProxy sends a request only once the server has told its settings, so the activator tells its own, which are none;
the replica that is reached later tells what differs. HAProxy confirms them, which is for no replica to see.
"""

from __future__ import annotations

import struct
from urllib.parse import quote

PREFACE_BEGINS = b"PRI * HTTP/2.0\r\n\r\n"  # as a head of HTTP/1 would
HEAD_BYTES = 9

_REST_OF_PREFACE = b"SM\r\n\r\n"
_HEADERS, _SETTINGS, _CONTINUATION = 1, 4, 9
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_LARGEST = 1 << 14  # bytes of a frame, as nobody has allowed more
_STATUS = b"\x08\x03"  # HPACK: the name from its table, the value as it is, of three bytes
_UNAVAILABLE = "14"  # a status of gRPC
_READABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


SETTINGS = _frame(_SETTINGS, 0, 0, b"")


class Opening:
    """Takes the beginning of a connection, frame by frame, until the headers of its request are complete.

    Attributes:
        taken: What came, for the replica: without what was meant for the activator.
    """

    def __init__(self) -> None:
        self.taken = bytearray(PREFACE_BEGINS)
        self.rest_of_preface = len(_REST_OF_PREFACE)  # bytes to be read first
        self._is_confirmed = False
        self._has_headers = False

    @property
    def is_complete(self) -> bool:
        """Whether the request's headers are there, and the activator's settings confirmed."""
        return self._is_confirmed and self._has_headers

    def begin(self, rest_of_preface: bytes) -> None:
        """Take what follows the preface's first lines; ValueError where that is another thing."""
        if rest_of_preface != _REST_OF_PREFACE:
            raise ValueError("The connection does not begin as one of HTTP/2.")
        self.taken += rest_of_preface

    def length(self, head: bytes) -> int:
        """The bytes that follow the head of a frame; ValueError where they are more than a frame may have."""
        length = int.from_bytes(head[:3], "big")
        if length > _LARGEST:
            raise ValueError(f"A frame of {length} bytes is larger than any may be.")
        return length

    def take(self, head: bytes, payload: bytes) -> None:
        """Take a frame."""
        kind, flags = head[3], head[4]
        if kind == _SETTINGS and flags & _ACK:
            self._is_confirmed = True
            return
        self._has_headers |= kind in (_HEADERS, _CONTINUATION) and bool(flags & _END_HEADERS)
        self.taken += head + payload


def renamed(opening: bytes, header: str, old: str, new: str) -> bytes:
    """The same with another value in the last header of a name, filled up by ``-``: no length changes.

    HAProxy writes names and values as they are, and its own header last.
    """
    name = header.lower().encode()
    before = bytes([len(name)]) + name + bytes([len(old)])
    first, found, rest = opening.rpartition(before + old.encode())
    return first + before + new.ljust(len(old), "-").encode() + rest if found else opening


def unavailable(status: int, words: str) -> bytes:
    """The answer to the request of such a connection, in the form that gRPC gives it, and in that of HTTP.

    The words must fit into a frame, of 16 KiB.
    """
    block = (
        _STATUS
        + str(status).encode()
        + b"".join(
            _header(name, value)
            for name, value in {
                "content-type": "application/grpc",
                "grpc-status": _UNAVAILABLE,
                "grpc-message": quote(words, safe=_READABLE),
            }.items()
        )
    )
    return _frame(_SETTINGS, _ACK, 0, b"") + _frame(_HEADERS, _END_STREAM | _END_HEADERS, 1, block)


def _header(name: str, value: str) -> bytes:
    """A header as HPACK has it that nobody is to remember."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    """A string as it is, with its length in a prefix of seven bits."""
    data, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + data
    prefix, rest = b"\x7f", length - 127
    while rest >= 128:
        prefix += bytes([rest % 128 + 128])
        rest //= 128
    return prefix + bytes([rest]) + data
