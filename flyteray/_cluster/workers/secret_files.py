"""Files with secrets: one for all processes of a node that use it, gone when none of them is left.

Each process keeps a shared lock on a file beside the secret's. Who gets that lock for itself alone knows that nobody
uses the secret any more, not even a process that was killed, and removes both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flyteray import _private

_LOCK = ".in-use"


class MountedFile:
    """A file with a secret, for as long as this process needs it; its owner alone can read it.

    Args:
        path: Where user code reads it.
        content: Its value; where another process has mounted it with another one, all of them see this one.

    Raises:
        OSError: It can't be written there.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        for lock in path.parent.glob(f".*{_LOCK}"):  # what killed processes left
            _remove_unless_used(lock)
        self._lock = _share(_lock_path(path))
        try:
            self.write(content)
        except OSError:
            self.close()
            raise

    def write(self, content: bytes) -> None:
        """Give it another content, at once for all who open it from now on."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_bytes() == content:
                return
        _private.replace(self.path, content)

    def close(self) -> None:
        """Need it no more; the last process that says so removes it."""
        os.close(self._lock)
        _remove_unless_used(_lock_path(self.path))


def sweep(folder: Path) -> None:
    """Remove the secrets below a folder that no living process uses."""
    for lock in folder.rglob(f".*{_LOCK}"):
        _remove_unless_used(lock)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{_LOCK}")


def _share(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_still(descriptor, lock):
            return descriptor
        os.close(descriptor)  # another process removed it in between


def _remove_unless_used(lock: Path) -> None:
    with _opened(lock) as descriptor:
        if descriptor is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _is_still(descriptor, lock):
            lock.with_name(lock.name[1 : -len(_LOCK)]).unlink(missing_ok=True)
            lock.unlink()


@contextlib.contextmanager
def _opened(lock: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # removed already, or another user's
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_still(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False
