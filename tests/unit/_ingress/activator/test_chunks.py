"""Bodies in chunks, without what comes after them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyteray._ingress.activator.chunks import Chunked

TRAILERS = b"X-Flyteray-User: bob\r\nX: y\r\n"


def chunked(chunks: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 30), max_size=40))
def test_a_body_passes_as_it_is_however_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    data, body = chunked(chunks, TRAILERS) + b"GET / HTTP/1.1\r\n\r\n", Chunked()
    out = b""
    for cut in [*cuts, len(data)]:
        out += body.feed(data[:cut])
        data = data[cut:]

    assert out == chunked(chunks)
    assert body.ended


def test_nothing_of_a_chunk_is_held_back() -> None:
    body = Chunked()

    assert body.feed(b"3\r\nab") == b"3\r\nab"
    assert body.feed(b"c\r\n0\r\n") == b"c\r\n0\r\n\r\n"
    assert body.feed(TRAILERS) == b""


def test_what_is_no_body_in_chunks_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Chunked().feed(b"no size\r\n")
