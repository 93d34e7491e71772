"""Where a process keeps what its local apps need: removed by whoever is the last to use it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from flyteray import _private

_LOCK = "lock"
_NAME = "apps-"


class SharedFolder:
    """A folder that lives as long as one of the processes that have entered it.

    Each holds a shared lock on a file in it, which the system drops when the process ends; one that leaves and then
    gets the lock for itself was the last.

    Args:
        path: The folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    @classmethod
    def new(cls, parent: Path) -> SharedFolder:
        """A fresh one; those beside it that nobody uses any more, because all of them were killed, are removed."""
        _private.folder(parent)
        with _private.opened(parent / _LOCK, "w") as others:
            fcntl.flock(others, fcntl.LOCK_EX)  # nobody removes what another one is about to enter
            for left in parent.glob(f"{_NAME}*/"):
                with contextlib.suppress(OSError):
                    cls(left).leave()
            return cls(Path(tempfile.mkdtemp(prefix=_NAME, dir=parent)))

    def leave(self) -> None:
        """Use it no more."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # others use it
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
