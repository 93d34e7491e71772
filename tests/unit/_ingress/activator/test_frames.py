"""The frames by which a connection of HTTP/2 begins, as HAProxy opens it for one request."""

from __future__ import annotations

import struct
from urllib.parse import unquote

import pytest

from flyteray._ingress.activator import frames
from flyteray._ingress.haproxy import maps

SETTINGS, HEADERS, CONTINUATION = 4, 1, 9
ACK = END_STREAM = 1
END_HEADERS = 4
REST = b"SM\r\n\r\n"
BLOCK = b"\x83\x00\x12x-flyteray-replica\x0cact_of_http2"


def frame(kind: int, flags: int, payload: bytes = b"", stream: int = 1) -> tuple[bytes, bytes]:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream), payload


def opening(*given: tuple[bytes, bytes]) -> frames.Opening:
    begun = frames.Opening()
    begun.begin(REST)
    for head, payload in given:
        assert not begun.is_complete
        assert begun.length(head) == len(payload)
        begun.take(head, payload)
    return begun


OWN = frame(SETTINGS, 0, b"\x00\x02\x00\x00\x00\x00", 0)


@pytest.mark.parametrize(
    "given",
    [
        [OWN, frame(SETTINGS, ACK, stream=0), frame(HEADERS, END_HEADERS, BLOCK)],
        [frame(HEADERS, END_HEADERS, BLOCK), OWN, frame(SETTINGS, ACK, stream=0)],
        [frame(SETTINGS, ACK, stream=0), frame(HEADERS, 0, BLOCK), frame(CONTINUATION, END_HEADERS, b"\x83")],
    ],
)
def test_a_replica_gets_all_but_the_word_for_the_activator(given: list[tuple[bytes, bytes]]) -> None:
    begun = opening(*given)

    assert begun.is_complete
    for_replica = b"".join(head + payload for head, payload in given if head[3:5] != bytes([SETTINGS, ACK]))
    assert begun.taken == frames.PREFACE_BEGINS + REST + for_replica


def test_what_is_no_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin as one of HTTP/2"):
        frames.Opening().begin(b"GET / ")
    with pytest.raises(ValueError, match="16385 bytes is larger"):
        frames.Opening().length(frame(HEADERS, 0, bytes(16385))[0])


@pytest.mark.parametrize("server", ["g1", "b8191-g1000"])
def test_the_server_that_was_chosen_is_named_and_no_length_changes(server: str) -> None:
    renamed = frames.renamed(BLOCK + b"\x83", maps.CHOSEN, maps.ACTIVATOR_HTTP2, server)

    assert renamed == b"\x83\x00\x12x-flyteray-replica\x0c" + server.encode().ljust(12, b"-") + b"\x83"


def test_only_the_last_header_is_the_ingress_s_own() -> None:
    forged = b"\x00\x01x" + bytes([len(BLOCK) - 2]) + BLOCK[2:]

    assert frames.renamed(forged + BLOCK, maps.CHOSEN, maps.ACTIVATOR_HTTP2, "g1").startswith(forged)
    assert frames.renamed(forged[:5], maps.CHOSEN, maps.ACTIVATOR_HTTP2, "g1") == forged[:5]


def test_no_server_has_a_longer_name_than_the_activator() -> None:
    longest = max(
        maps.server_name(8191, 1_000_000 + 100_000 + 1000), maps.server_name(8191, 100_000 + 1000), key=len
    )

    assert len(longest) <= len(maps.ACTIVATOR_HTTP2)


@pytest.mark.parametrize("words", ["No replica.", "100 % of\nthem \u2014 " + "x" * 500])
def test_an_answer_tells_in_headers_what_is_wrong(words: str) -> None:
    answer = frames.unavailable(429, words)

    confirmed, headers = answer[:9], answer[9:]
    assert confirmed == frame(SETTINGS, ACK, stream=0)[0]
    length = int.from_bytes(headers[:3], "big")
    assert headers[3:9] == struct.pack("!BBI", HEADERS, END_STREAM | END_HEADERS, 1)
    block = headers[9:].decode("latin-1")
    assert len(block) == length
    assert block.startswith("\x08\x03429")
    assert "\x0bgrpc-status\x0214" in block
    assert unquote(block).endswith(words)
