"""Copies of objects are kept in a folder of this machine, up to a limit: those that were used longest ago go first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from flyteray._settings import Settings
from flyteray.storage.local import UNFINISHED

_SHARE_OF_DISK = 10  # a tenth
_ABANDONED_S = 3600.0  # a download writes all the time: one that has not for so long was killed


class Copies:
    """The copies in a folder, which processes share.

    Args:
        folder: The folder; ``cache`` in the flyteray home by default.
        limit: How many bytes they may have together; that of the settings by default, or else a tenth of the disk. A
            copy that is in use stays, and one that is larger than the limit is kept for as long as it is used.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self._folder = folder
        self._limit = limit

    def open(self, name: str, size: int, fetch: Callable[[Path], None]) -> IO[bytes]:
        """The copy of that name, opened for reading; ``fetch`` writes one of ``size`` bytes to a path where it lacks.

        It is in use as long as the file, or a map of it, is open in any process.
        """
        settings = Settings.load()
        folder = self._folder or settings.home / "cache"
        path = folder / name
        while (file := _opened(path)) is None:
            if folder.exists():
                limit = (
                    self._limit or settings.cache_size or shutil.disk_usage(folder).total // _SHARE_OF_DISK
                )
                _make_room(folder, limit - size)
            fetch(path)
        return file


class _Copy(NamedTuple):
    used: float
    size: int
    path: Path


def _opened(path: Path) -> IO[bytes] | None:
    """The file, marked as used now and as in use; None where there is none."""
    with contextlib.suppress(FileNotFoundError):
        file = path.open("rb")
        # A map has a descriptor of its own for the same opened file, so that the lock lives as long as it does.
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_nlink:
            with contextlib.suppress(PermissionError):  # another user's
                os.utime(file.fileno())
            return file
        file.close()  # it was removed meanwhile
    return None


def _make_room(folder: Path, limit: int) -> None:
    """Remove copies that nobody uses until the others have no more bytes than that."""
    kept = sorted(_kept(folder))
    excess = sum(copy.size for copy in kept) - limit
    for copy in kept:
        if excess <= 0:
            return
        if _remove(copy):
            excess -= copy.size


def _kept(folder: Path) -> list[_Copy]:
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            if path.is_file():
                state = path.stat()
                found.append(_Copy(state.st_mtime, state.st_size, path))
    return found


def _remove(copy: _Copy) -> bool:
    """Remove a copy; False where it is in use, or another user's."""
    if copy.path.name.startswith(UNFINISHED) and copy.used > time.time() - _ABANDONED_S:
        return False
    try:
        with copy.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            copy.path.unlink()
    except FileNotFoundError:
        return True  # somebody else has removed it
    except (BlockingIOError, PermissionError):
        return False
    return True
