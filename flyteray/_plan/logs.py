"""The log of an attempt is kept in storage as pieces of what it writes: the first ones and the last ones.

Nobody can add to an object of an object store, so a piece is written anew until it is full, and then the next begins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from flyteray.storage import Storage

PIECE = 256 * 1024  # bytes
FIRST, LAST = 8, 24  # pieces of each stream that are kept
STREAMS = ("out", "err")

# Lines that Ray writes for itself.
_RAYS_OWN = re.compile(r":(?:actor_name|job_id|task_name):")


def piece_key(run: str, action: str, attempt: int, stream: str, number: int) -> str:
    """Where in storage a piece of an attempt's stream is; attempts are counted from 1, pieces from 0."""
    return f"{attempt_folder(run, action, attempt)}/{stream}/{number:06}"


def attempt_folder(run: str, action: str, attempt: int) -> str:
    """Where in storage the pieces of an attempt are."""
    return f"{_folder(run, action)}/{attempt}"


def pieces(size: int) -> list[int]:
    """The pieces that are kept of a stream of so many bytes."""
    count = -(-size // PIECE)
    return [*range(min(count, FIRST)), *range(max(FIRST, count - LAST), count)]


def lines(storage: Storage, run: str, action: str, attempt: int | None = None) -> list[str]:
    """The lines of an attempt, by default the last one that wrote any: of standard output, then of standard error.

    Where something was cut out of the middle, a line says how much.
    """
    attempts: defaultdict[int, list[str]] = defaultdict(list)
    for key in storage.list(_folder(run, action)):
        attempts[int(key.split("/")[-3])].append(key)
    keys = attempts.get(max(attempts, default=0) if attempt is None else attempt, [])
    return [line for stream in STREAMS for line in _of_stream(storage, keys, stream)]


def _folder(run: str, action: str) -> str:
    return f"runs/{run}/{action}/logs"


def _of_stream(storage: Storage, keys: Iterable[str], stream: str) -> Iterator[str]:
    text, expected = b"", 0
    for key in sorted(keys):
        *_, of, number = key.split("/")
        if of == stream:
            try:
                piece = storage.get(key)
            except FileNotFoundError:
                continue  # dropped meanwhile
            if gap := int(number) - expected:
                yield from _decoded(text)
                yield f"[{gap * PIECE // 1024} KiB are not kept]"
                text = b""
            text += piece
            expected = int(number) + 1
    yield from _decoded(text)


def _decoded(text: bytes) -> Iterator[str]:
    ended = text.removesuffix(b"\n")
    if ended or text:
        yield from (line for line in ended.decode(errors="replace").split("\n") if not _RAYS_OWN.match(line))
