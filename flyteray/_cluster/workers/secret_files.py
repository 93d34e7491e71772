"""A file with a secret is one for all processes of a node that use it, and gone when none of them is left.

Each process shares a lock on a file beside the secret's. One that holds the lock alone knows that nobody uses the
secret any more, not even a process that was killed, and removes both.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock, shared

_LOCK = ".in-use"


class MountedFile:
    """A file with a secret, for as long as this process needs it; its owner alone can read it.

    Where another process has mounted another content there, both see this one; OSError where it can't be written.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        for lock in path.parent.glob(f".*{_LOCK}"):  # of killed processes
            _remove_unless_used(lock)
        self._lock = shared(_lock_path(path))
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
        """Need the file no more; the last process that says so removes it."""
        self._lock.close()
        _remove_unless_used(_lock_path(self.path))


def sweep(folder: Path) -> None:
    """Remove the secrets below a folder that no living process uses."""
    for lock in folder.rglob(f".*{_LOCK}"):
        _remove_unless_used(lock)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{_LOCK}")


def _remove_unless_used(lock_path: Path) -> None:
    if not lock_path.exists():
        return
    with contextlib.suppress(PermissionError), FileLock(lock_path) as lock:  # it may be another user's
        if lock.try_take() and lock.is_current():
            lock_path.with_name(lock_path.name[1 : -len(_LOCK)]).unlink(missing_ok=True)
            lock_path.unlink()
