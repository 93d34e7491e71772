from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from flyteray._plan.actions import logs
from flyteray.storage import Storage, open_storage
from flyteray.storage.objects import ObjectStorage


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return (
        open_storage(tmp_path) if request.param == "folder" else ObjectStorage("s3://bucket/a", MemoryStore())
    )


def put(storage: Storage, data: bytes, attempt: int = 1, stream: str = "out", number: int = 0) -> None:
    storage.put(logs.piece_key("r", "a0", attempt, stream, number), data)


@given(st.integers(0, 100 * logs.PIECE))
def test_the_first_and_the_last_pieces_are_kept(size: int) -> None:
    kept = logs.pieces(size)

    assert kept == sorted(set(kept))
    assert len(kept) == min(-(-size // logs.PIECE), logs.FIRST + logs.LAST)
    if size:
        assert kept[0] == 0
        assert kept[-1] == (size - 1) // logs.PIECE


def test_standard_output_comes_before_standard_error_and_rays_own_lines_are_left_out(
    storage: Storage,
) -> None:
    put(storage, b"oh\n", stream="err")
    put(storage, b":task_name:work\none\n\nt\xc3", number=0)
    put(storage, b"\xbc", number=1)

    assert logs.lines(storage, "r", "a0") == ["one", "", "tü", "oh"]


def test_the_last_attempt_that_wrote_is_read_unless_another_is_asked_for(storage: Storage) -> None:
    put(storage, b"nine\n", attempt=9)
    put(storage, b"ten\n", attempt=10)

    assert logs.lines(storage, "r", "a0") == ["ten"]
    assert logs.lines(storage, "r", "a0", 9) == ["nine"]
    assert logs.lines(storage, "r", "a0", 3) == []
    assert logs.lines(storage, "r", "a1") == []


def test_it_is_said_what_is_not_kept(storage: Storage) -> None:
    put(storage, b"begin", number=0)
    put(storage, b"end\n", number=3)

    assert logs.lines(storage, "r", "a0") == ["begin", "[512 KiB are not kept]", "end"]


def test_each_line_tells_when_it_was_there_first(storage: Storage) -> None:
    put(storage, b"one\ntwo\nthree")
    storage.put(logs.times_key("r", "a0", 1, "out"), b"[[60.5, 5], [61, 13]]")

    assert logs.lines(storage, "r", "a0", show_ts=True) == [
        "1970-01-01T00:01:00.500+00:00 one",
        "1970-01-01T00:01:00.500+00:00 two",
        "1970-01-01T00:01:01.000+00:00 three",
    ]


def test_a_tail_gives_what_it_has_not_given(storage: Storage) -> None:
    tail = logs.Tail(storage, "r", "a0", 1)

    def read(final: bool = False) -> list[str]:
        return [line.text for line in tail.read(final)]

    assert read() == []
    put(storage, b"one\ntw")
    assert read() == ["one"]
    put(storage, b"one\ntwo\n" + b"x" * (logs.PIECE - 8))
    put(storage, b"oh\n", stream="err")
    assert read() == ["two", "oh"]
    put(storage, b"x\nlast", number=1)
    assert read() == ["x" * (logs.PIECE - 7)]
    assert (read(), read(final=True), read(final=True)) == ([], ["last"], [])
