from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flyteray.storage.copy_on_write import Buffers, reading, writable

LARGE = 1 << 20


@pytest.fixture
def shared(tmp_path: Path) -> mmap.mmap:
    """A file of three megabytes that is mapped as other processes map it, and has no name any more."""
    path = tmp_path / "shared"
    path.write_bytes(np.arange(3 * LARGE // 8).tobytes())
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    path.unlink()
    return mapped


def mappings_of(mapped: mmap.mmap) -> list[str]:
    """The permissions of this process's mappings of the file that a mapping is of."""
    place = np.frombuffer(mapped, dtype=np.uint8).ctypes.data
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    (inode,) = [
        each[4]
        for each in lines
        if int(each[0].partition("-")[0], 16) <= place < int(each[0].partition("-")[2], 16)
    ]
    return [each[1] for each in lines if each[4] == inode]


def test_what_is_written_is_seen_by_nobody_else(shared: mmap.mmap) -> None:
    view = memoryview(shared)[LARGE : 2 * LARGE]

    found = writable(view)
    before = bytes(view)
    assert found == view
    assert "rw-p" in mappings_of(shared)
    found[:4] = b"mine"

    assert bytes(found[:4]) == b"mine"
    assert bytes(view) == before


def test_buffers_that_are_read_together_are_mapped_once(shared: mmap.mmap) -> None:
    whole = memoryview(shared)
    parts = [whole[100 : 100 + LARGE], whole[LARGE + 100 : 2 * LARGE], whole[:16], whole[2 * LARGE + 7 :]]

    with reading(parts):
        found = [writable(part) for part in parts]

    assert found == parts
    assert mappings_of(shared).count("rw-p") == 1


def test_what_is_not_of_a_file_is_copied() -> None:
    original = np.arange(LARGE).tobytes()

    found = writable(original)
    found[0] = 9

    assert not found.readonly
    assert found.nbytes == len(original)
    assert original[0] == 0


def test_what_may_be_written_to_is_left_alone() -> None:
    own = bytearray(LARGE)

    writable(own)[0] = 1

    assert own[0] == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_the_file_is_found_with_the_process_that_has_started_this_one(tmp_path: Path, is_open: bool) -> None:
    """As a worker finds Ray's memory: it has the mapping, and the raylet, whose child it is, the descriptor.

    Where nobody has it open, what is in it is copied.
    """
    path = tmp_path / "shared"
    path.write_bytes(bytes(LARGE))
    with path.open("rb") as file:
        path.unlink()
        program = f"""
import ctypes, mmap, os
from flyteray.storage.copy_on_write import Buffers
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
descriptor = os.open("/proc/{os.getpid()}/fd/{file.fileno()}", os.O_RDONLY)
place = libc.mmap(None, ctypes.c_size_t({LARGE}), mmap.PROT_READ, mmap.MAP_SHARED, descriptor, ctypes.c_long(0))
os.close(descriptor)  # as Ray does
print("mapped", flush=True)
input()
view = memoryview((ctypes.c_char * {LARGE}).from_address(place)).cast("B").toreadonly()
found = Buffers([view]).writable(view)
found[0] = 1
print(view[0], found[0], any(" rw-p " in line and "shared" in line for line in open("/proc/self/maps")))
"""
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "mapped\n"
            if not is_open:
                file.close()
            told, _ = child.communicate("go on\n")

    assert told.split() == ["0", "1", str(is_open)]


def test_the_shared_memory_lives_as_long_as_what_was_made_of_it(shared: mmap.mmap) -> None:
    found = Buffers([memoryview(shared)]).writable(memoryview(shared))

    with pytest.raises(BufferError):
        shared.close()
    assert found[8] == 1
