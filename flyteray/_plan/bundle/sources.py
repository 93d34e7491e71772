"""Source files to ship are read once: their state tells whether they have changed since."""

from __future__ import annotations

import functools
import hashlib
import stat
import time
from pathlib import Path
from typing import NamedTuple

from flyteray.errors import CodeBundleError

# A file that is older has a time by which a later change can be told; file systems are coarse.
_SETTLED_S = 2.0


class State(NamedTuple):
    """A file as it stood when it was looked at; equal states have equal contents.

    ``looked`` is 0 for a file that has settled. One that was just written never equals an earlier look.
    """

    path: str
    size: int
    changed_ns: int
    looked: int
    executable: bool


def state(path: Path) -> State:
    """How a file stands; CodeBundleError where it can't be read."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    settled = time.time_ns() - found.st_mtime_ns > _SETTLED_S * 1e9
    looked = 0 if settled else time.monotonic_ns()
    return State(str(path), found.st_size, found.st_mtime_ns, looked, bool(found.st_mode & stat.S_IXUSR))


def read(path: Path) -> bytes:
    """The content of a file; CodeBundleError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


@functools.lru_cache(maxsize=16384)
def content_hash(state: State) -> str:
    """The SHA-256 of a file; one that did not change is not read again. CodeBundleError where it can't be read."""
    digest = hashlib.sha256()
    try:
        with open(state.path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise _unreadable(Path(state.path), error) from error
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> CodeBundleError:
    return CodeBundleError(f"{path} can't be read: {error.strerror}.")
