"""The log of an attempt is kept in storage as pieces of what it writes: the first ones and the last ones.

Nobody can add to an object of an object store, so a piece is written anew until it is full, and then the next begins.
Beside the pieces of a stream it is kept how long it was at some times, which tells when each line was written.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from flyteray.storage import Storage

PIECE = 256 * 1024  # bytes
FIRST, LAST = 8, 24  # pieces of each stream that are kept
STREAMS = ("out", "err")

_TIMES = "times"
# Lines that Ray writes for itself.
_RAYS_OWN = re.compile(r":(?:actor_name|job_id|task_name):")


def piece_key(run: str, action: str, attempt: int, stream: str, number: int) -> str:
    """Where in storage a piece of an attempt's stream is; attempts are counted from 1, pieces from 0."""
    return f"{attempt_folder(run, action, attempt)}/{stream}/{number:06}"


def times_key(run: str, action: str, attempt: int, stream: str) -> str:
    """Where in storage the sizes are that an attempt's stream has had: JSON, each with its time since the epoch."""
    return f"{attempt_folder(run, action, attempt)}/{stream}/{_TIMES}"


def attempt_folder(run: str, action: str, attempt: int) -> str:
    """Where in storage the pieces of an attempt are."""
    return f"{_folder(run, action)}/{attempt}"


def pieces(size: int) -> list[int]:
    """The pieces that are kept of a stream of so many bytes."""
    count = -(-size // PIECE)
    return [*range(min(count, FIRST)), *range(max(FIRST, count - LAST), count)]


class Line(NamedTuple):
    """A line that an attempt has written; ``at`` is when it was there, in seconds since the epoch; None: not known."""

    text: str
    at: float | None = None

    @property
    def stamped(self) -> str:
        """The line behind its time in UTC."""
        if self.at is None:
            return self.text
        return (
            f"{datetime.fromtimestamp(self.at, timezone.utc).isoformat(timespec='milliseconds')} {self.text}"
        )


def lines(
    storage: Storage, run: str, action: str, attempt: int | None = None, show_ts: bool = False
) -> list[str]:
    """The lines of an attempt, by default the last one that wrote any: of standard output, then of standard error.

    Where something was cut out of the middle, a line says how much. With ``show_ts`` each has its time before it.
    """
    if attempt is None:
        attempt = max(attempts(storage, run, action), default=1)
    found = Tail(storage, run, action, attempt, show_ts).read(final=True)
    return [line.stamped for line in found]


def attempts(storage: Storage, run: str, action: str) -> set[int]:
    """The attempts of an action that have written something."""
    return {int(key.split("/")[-3]) for key in storage.list(_folder(run, action))}


class Tail:
    """The end of the log of one attempt: what is read was not read before.

    With ``timed`` lines have their times.
    """

    def __init__(self, storage: Storage, run: str, action: str, attempt: int, timed: bool = False) -> None:
        self._storage = storage
        self._folder = attempt_folder(run, action, attempt)
        self._streams = [
            _Stream(stream, times_key(run, action, attempt, stream) if timed else None) for stream in STREAMS
        ]

    def read(self, final: bool) -> list[Line]:
        """The lines that are new: of standard output, then of standard error; ``final`` also where one has no end."""
        keys = list(self._storage.list(self._folder))
        return [line for stream in self._streams for line in stream.read(self._storage, keys, final)]


class _Stream:
    """One of the two streams, read up to a position."""

    def __init__(self, name: str, times: str | None) -> None:
        self._name = name
        self._times = times
        self._position = 0  # behind what is read
        self._last = -1  # piece that was read
        self._rest = b""  # of a line whose end is not there yet

    def read(self, storage: Storage, keys: Sequence[str], final: bool) -> Iterator[Line]:
        sizes = self._read_times(storage, keys)
        for number, key in sorted(self._pieces(keys)):
            if number < self._position // PIECE:
                continue
            try:
                piece = storage.get(key)
            except FileNotFoundError:
                continue  # dropped meanwhile
            start = number * PIECE
            if gap := max(0, number - self._last - 1):
                yield from self._ended(sizes)
                yield Line(f"[{gap * PIECE // 1024} KiB are not kept]")
            self._last = number
            self._rest += piece[max(0, self._position - start) :]
            self._position = max(self._position, start + len(piece))
            yield from self._whole_lines(sizes)
        if final:
            yield from self._ended(sizes)

    def _pieces(self, keys: Sequence[str]) -> Iterator[tuple[int, str]]:
        for key in keys:
            *_, stream, number = key.split("/")
            if stream == self._name and number != _TIMES:
                yield int(number), key

    def _whole_lines(self, sizes: _Sizes) -> Iterator[Line]:
        *whole, rest = self._rest.split(b"\n")
        begin = self._position - len(self._rest)
        self._rest = rest
        for text in whole:
            yield from _line(text, begin, sizes)
            begin += len(text) + 1

    def _ended(self, sizes: _Sizes) -> Iterator[Line]:
        rest, self._rest = self._rest, b""
        if rest:
            yield from _line(rest, self._position - len(rest), sizes)

    def _read_times(self, storage: Storage, keys: Sequence[str]) -> _Sizes:
        if self._times is None or self._times not in keys:
            return _Sizes([], [])
        pairs = json.loads(storage.get(self._times))
        return _Sizes([size for _, size in pairs], [at for at, _ in pairs])


class _Sizes(NamedTuple):
    """The sizes that a stream had, and when."""

    sizes: list[int]
    times: list[float]

    def at(self, position: int) -> float | None:
        """When the byte at a position was there first, as far as somebody looked."""
        index = bisect_right(self.sizes, position)
        return self.times[index] if index < len(self.times) else None


def _line(text: bytes, position: int, sizes: _Sizes) -> Iterator[Line]:
    decoded = text.decode(errors="replace")
    if not _RAYS_OWN.match(decoded):
        yield Line(decoded, sizes.at(position))


def _folder(run: str, action: str) -> str:
    return f"runs/{run}/{action}/logs"
