"""What others than its owner may read or write."""

from __future__ import annotations

import stat
from pathlib import Path

from flyteray import _private


def open_to_others(*roots: Path) -> list[str]:
    """Files and folders that others may read or write; but what user code writes, and Ray's folder."""
    found = []
    for root in roots:
        for path in [root, *root.rglob("*")]:
            mode = path.lstat().st_mode
            # Python makes these for user code, by the user's umask.
            cached = path.name == "__pycache__" and _private.is_private(path.parent)
            by_user = path.name == "mine.txt" or "data" in path.relative_to(root).parts
            if mode & 0o077 and not stat.S_ISLNK(mode) and not by_user and not cached:
                found.append(f"{mode & 0o7777:o} {path}")
    return found


def own_parts(temp_dir: Path) -> list[Path]:
    """What a local cluster has in its folder besides Ray's."""
    return [path for path in temp_dir.iterdir() if path.name != "ray"]
