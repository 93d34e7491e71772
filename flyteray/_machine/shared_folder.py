"""A folder is shared by processes, and removed by the last one to use it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock, alone

_LOCK = ".lock"


class SharedFolder:
    """A folder that lives as long as one of the processes that have entered it.

    Args:
        path: The folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / _LOCK)
        self._lock.share()

    @classmethod
    def new(cls, parent: Path) -> SharedFolder:
        """A fresh one; those beside it that nobody uses any more, because all of them were killed, are removed."""
        _private.folder(parent)
        with alone(parent / _LOCK):  # nobody removes what another one is about to enter
            for left in parent.glob("*/"):
                with contextlib.suppress(OSError):
                    cls(left).leave()
            return cls(Path(tempfile.mkdtemp(dir=parent)))

    def leave(self) -> None:
        """Use it no more."""
        with self._lock as lock:
            if lock.try_take():
                shutil.rmtree(self.path, ignore_errors=True)
