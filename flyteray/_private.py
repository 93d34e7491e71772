"""Files and folders that nobody but their owner can read, from the moment they are there and under any umask."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, Any

FILE = 0o600
FOLDER = 0o700


def folder(path: Path) -> Path:
    """A folder for its owner alone, made with those above it that are missing; one that is there is left as it is."""
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=FOLDER, exist_ok=True)
    return path


def tightened(path: Path) -> Path:
    """The same, and one that is there is closed to others, so that nobody reaches what is in it."""
    folder(path)
    if not is_private(path):
        with contextlib.suppress(PermissionError):  # another user's, who has shared it
            path.chmod(FOLDER)
    return path


def rooms(root: Path, *names: str) -> None:
    """Make folders in a folder that may be there already, for their owner alone.

    Where its group is to have what is made in it (``chmod g+s``), they are made as any program makes them.
    """
    shared = root.exists() and root.stat().st_mode & stat.S_ISGID
    for name in names:
        if shared:
            (root / name).mkdir(exist_ok=True)
        else:
            folder(root / name)


def opened(path: Path, mode: str, buffering: int = -1) -> IO[Any]:
    """As :func:`open`; a file that it makes is its owner's alone."""
    return open(path, mode, buffering, opener=lambda name, flags: os.open(name, flags, FILE))


def write(path: Path, content: str | bytes) -> None:
    """Write a file; one that it makes is its owner's alone."""
    with opened(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def replace(path: Path, content: str | bytes) -> None:
    """Give a file another content, whole or not at all, at once for all who open it; it is its owner's alone."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=".")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        raise


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may look into a folder."""
    return not os.stat(path).st_mode & 0o077


def folder_like_its_own(path: Path) -> bool:
    """Make a folder where it is missing, as private as the one that it is in; whether it is private."""
    try:  # mostly it is there, or the one that it is in
        return is_private(path)
    except FileNotFoundError:
        pass
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        private = is_private(path.parent)
        os.mkdir(path, FOLDER if private else 0o777)
        return private
    there = next(each for each in (path, *path.parents) if each.exists())
    private = is_private(there)
    if private:
        folder(path)
    else:
        path.mkdir(parents=True, exist_ok=True)
    return private
