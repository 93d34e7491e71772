"""Built images that nobody uses any more are removed; locks tell, which end with the processes that hold them."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock

_IN_USE = "in-use"
_REPLACED_S = 600.0  # processes that have looked up the way to the old one have started it by then
_UNUSED_S = 30 * 24 * 3600.0


def usage(built: Path) -> str:
    """A line for a ``.pth`` file of an image, by which each Python that starts there holds a lock until it ends."""
    (built / _IN_USE).touch(mode=_private.FILE)
    mark = repr(str(built / _IN_USE))
    return f"import fcntl, os; os.utime({mark}); fcntl.flock(os.open({mark}, os.O_RDONLY), fcntl.LOCK_SH)\n"


def remove_unused(folder: Path) -> None:
    """Remove images that were built anew since, and those that were last started a month ago; none that is in use.

    Each has its link ``<key>``, its lock ``<key>.lock`` and ``<key>-…`` itself in the folder.
    """
    for mark in folder.glob(f"*-*/{_IN_USE}"):
        key = mark.parent.name.partition("-")[0]
        # An OSError: it has just been removed.
        with contextlib.suppress(OSError), FileLock(folder / f"{key}.lock") as building:
            if building.try_take():
                _remove_if_unused(mark, folder / key)


def _remove_if_unused(mark: Path, link: Path) -> None:
    built = mark.parent
    is_current = link.is_symlink() and os.readlink(link) == built.name
    since = mark.stat().st_mtime if is_current or not link.is_symlink() else link.lstat().st_mtime
    if time.time() - since < (_UNUSED_S if is_current else _REPLACED_S):
        return
    with FileLock(mark) as users:
        if users.try_take():
            if is_current:
                link.unlink()
            shutil.rmtree(built, ignore_errors=True)
