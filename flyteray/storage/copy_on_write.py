"""Buffers that several processes share become memory that one may write to: a page is copied when it is first written.

Tensors can't be made read-only as arrays can, and what is written to Ray's memory would change for everybody. So the
file that the memory is of is mapped once more, privately. Ray's has no name; it is opened through a process that has it
open still: this one, or the raylet, whose child a worker is. Where that fails the buffer is copied.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_SMALL = 64 * 1024  # bytes that are copied sooner than mapped
_PROBE = 4096  # bytes that are compared

Identity = tuple[int, int]
"""The device and the inode of a file."""


class Segment(NamedTuple):
    """A part of this process's memory that is of a file."""

    start: int
    end: int
    offset: int
    file: Identity


class _Private(mmap.mmap):
    """A private mapping; ``kept`` holds the memory that it shows until somebody writes."""

    kept: Any


class Buffers:
    """Buffers that are read together, most of them from one file: it is mapped once, when the first is asked for."""

    def __init__(self, buffers: Sequence[Any]) -> None:
        self._buffers = buffers
        self._mapped: dict[Segment, tuple[int, _Private] | None] | None = None

    def writable(self, buffer: Any) -> memoryview:
        """The bytes of a buffer in memory that may be written to."""
        view = memoryview(buffer).cast("B")
        if not view.readonly:
            return view
        if view.nbytes >= _SMALL:
            address = _address(view)
            if self._mapped is None:
                self._mapped = self._map()
            for segment, mapped in self._mapped.items():
                if mapped is not None and segment.start <= address < segment.end:
                    begin = address - mapped[0]
                    found = memoryview(mapped[1])[begin : begin + view.nbytes]
                    if found[:_PROBE] == view[:_PROBE] and found[-_PROBE:] == view[-_PROBE:]:
                        return found
        return memoryview(bytearray(view))

    def _map(self) -> dict[Segment, tuple[int, _Private] | None]:
        views = [memoryview(each).cast("B") for each in self._buffers]
        places = [(_address(each), each.nbytes) for each in views if each.readonly and each.nbytes >= _SMALL]
        mapped = {}
        for segment in _segments():
            inside = [(at, size) for at, size in places if segment.start <= at and at + size <= segment.end]
            if inside:
                first = min(at for at, _ in inside) // mmap.PAGESIZE * mmap.PAGESIZE
                last = max(at + size for at, size in inside)
                mapped[segment] = self._mapping(segment, first, last - first)
        return mapped

    def _mapping(self, segment: Segment, first: int, size: int) -> tuple[int, _Private] | None:
        file = _opened(segment.file)
        if file is None:
            return None
        try:
            made = _Private(
                file,
                size,
                flags=mmap.MAP_PRIVATE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
                offset=segment.offset + first - segment.start,
            )
        except (OSError, ValueError):  # no address space is left, or the file is shorter by now
            return None
        made.kept = self._buffers
        return first, made


_reading: contextvars.ContextVar[Buffers | None] = contextvars.ContextVar("flyteray_reading", default=None)


@contextlib.contextmanager
def reading(buffers: Sequence[Any]) -> Iterator[None]:
    """Say which buffers belong together while a value is made of them."""
    token = _reading.set(Buffers(buffers))
    try:
        yield
    finally:
        _reading.reset(token)


def writable(buffer: Any) -> memoryview:
    """The bytes of a buffer in memory that may be written to: shared with others until it is."""
    return (_reading.get() or Buffers([buffer])).writable(buffer)


def _address(view: memoryview) -> int:
    import numpy  # deferred: whoever has tensors has it

    return int(numpy.frombuffer(view, dtype=numpy.uint8).ctypes.data)


def _segments() -> Iterator[Segment]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in lines:
        places, _, offset, device, inode, *_ = line.split()
        if inode != "0":
            start, _, end = places.partition("-")
            major, _, minor = device.partition(":")
            file = os.makedev(int(major, 16), int(minor, 16)), int(inode)
            yield Segment(int(start, 16), int(end, 16), int(offset, 16), file)


@functools.lru_cache(maxsize=64)
def _opened(file: Identity) -> int | None:
    """The descriptor of a file, open until this process ends, so that no other file takes its inode."""
    for process in ("self", str(os.getppid()), *_raylets()):
        with contextlib.suppress(OSError):  # of somebody else, or gone by now
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found = descriptor.stat()
                    if (found.st_dev, found.st_ino) == file:
                        return os.open(descriptor, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _raylets() -> Iterator[str]:
    """The processes of this machine that Ray's memory is of, for a driver, which is nobody's child."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() == "raylet":
                yield process.name
