"""A lock on a file is shared or held alone by processes of a machine, and given up by the system when one ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flyteray import _private


class FileLock:
    """A lock that this process may take, until it is closed or the process ends.

    Args:
        path: The file; made where it is missing, for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _private.opened(path, "a+")

    def share(self) -> None:
        """Hold it beside others who share it; waits for one who holds it alone."""
        fcntl.flock(self.file, fcntl.LOCK_SH)

    def take(self) -> None:
        """Hold it alone; waits for all others."""
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def try_take(self) -> bool:
        """Hold it alone if nobody else holds it; False leaves it as it was."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_current(self) -> bool:
        """Whether the file is still at its path: its last user may have removed it meanwhile."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    @property
    def closed(self) -> bool:
        """Whether it was given up."""
        return self.file.closed

    def close(self) -> None:
        """Give it up."""
        self.file.close()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shared(path: Path) -> FileLock:
    """A lock that this process shares, on the file that is at ``path`` now."""
    while True:
        lock = FileLock(path)
        lock.share()
        if lock.is_current():
            return lock
        lock.close()


@contextlib.contextmanager
def alone(path: Path) -> Iterator[FileLock]:
    """A lock that nobody else holds inside the block; waits for it."""
    with FileLock(path) as lock:
        lock.take()
        yield lock
