"""The access log of a machine is a file of entries and older ones, numbered as they came, that few of are kept."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from flyteray import _private
from flyteray._ingress.seen import entries
from flyteray._plan.traffic.access import Page, Place, time_of

FILE = "access.log"
_LARGEST = 32 << 20
_KEPT = 4  # files besides the newest
_AT_ONCE = 1 << 20  # bytes that are read at one time
_LATE_US = 250_000  # of what has ended since, an entry may be on its way


class AccessLog:
    """The access log in a directory; may be read and written from any thread.

    Args:
        directory: Where its files are, for the user alone.
        largest: The bytes from which on a file is followed by the next.
    """

    def __init__(self, directory: Path, largest: int = _LARGEST) -> None:
        self._directory = directory
        self._largest = largest
        self._lock = threading.Lock()
        self._newest = max(self._older(), default=0) + 1
        self._file = self._begun()

    def write(self, lines: Iterable[str]) -> None:
        """Add entries."""
        with self._lock:
            if self._file.closed:
                return
            self._file.write("".join(f"{line}\n" for line in lines).encode())
            if self._file.tell() >= self._largest:
                self._file.close()
                self._path(self._newest).rename(self._directory / f"{FILE}.{self._newest}")
                self._newest += 1
                self._file = self._begun()
                for number in self._older():
                    if number < self._newest - _KEPT:
                        self._path(number).unlink()

    def page(self, app: str, count: int, place: Place | None) -> Page:
        """The last ``count`` entries of an app, or those from a place on."""
        return self.last(app, count) if place is None else self.after(app, place)

    def last(self, app: str, count: int) -> Page:
        """The last ``count`` entries of an app, or all that there are."""
        until = entries.time(time.time_ns() // 1000 - _LATE_US)
        with self._lock:
            place = Place(self._newest, self._file.tell())
            files = [self._opened(number) for number in [*self._older(), self._newest]]
        found: list[str] = []
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(file) for file in files]
            for file in reversed(opened):
                end = place.offset if file is opened[-1] else os.fstat(file.fileno()).st_size
                for line in _backwards(file, end):
                    if len(found) >= count:
                        break
                    if line.startswith(entries.begins(app)):
                        found.append(line.decode())
        return Page(tuple(reversed(found)), place, until)

    def after(self, app: str, place: Place) -> Page:
        """Entries of an app from a place on, as many as are read at one time; what is not kept any more is left out."""
        until = entries.time(time.time_ns() // 1000 - _LATE_US)
        with self._lock:
            there = [*self._older(), self._newest]
            number, offset = (place.file, place.offset) if place.file in there else (there[0], 0)
            file = self._opened(number)
            is_newest = number == self._newest
        with file:
            file.seek(offset)
            read = file.read(_AT_ONCE)
        whole = read[: read.rfind(b"\n") + 1]
        lines = whole.splitlines()
        ends = len(read) < _AT_ONCE
        following = Place(number, offset + len(whole)) if is_newest or not ends else Place(number + 1, 0)
        if not (is_newest and ends):
            until = time_of(lines[-1].decode()) if lines else ""
        begins = entries.begins(app)
        return Page(tuple(line.decode() for line in lines if line.startswith(begins)), following, until)

    def close(self) -> None:
        """Take no more; it can be read all the same."""
        with self._lock:
            self._file.close()

    def _older(self) -> list[int]:
        numbers = (path.name.removeprefix(f"{FILE}.") for path in self._directory.glob(f"{FILE}.*"))
        return sorted(int(number) for number in numbers if number.isdigit())

    def _path(self, number: int) -> Path:
        return self._directory / (FILE if number == self._newest else f"{FILE}.{number}")

    def _begun(self) -> IO[bytes]:
        file: IO[bytes] = _private.opened(self._directory / FILE, "ab", buffering=0)
        return file

    def _opened(self, number: int) -> IO[bytes]:
        return open(self._path(number), "rb")


def _backwards(file: IO[bytes], end: int) -> Iterator[bytes]:
    """The lines of a file that end before a place, the last one first."""
    rest = b""
    while end > 0:
        begin = max(0, end - _AT_ONCE)
        file.seek(begin)
        first, *whole = (file.read(end - begin) + rest).split(b"\n")
        yield from (line for line in reversed(whole) if line)
        rest, end = first, begin
    if rest:
        yield rest
