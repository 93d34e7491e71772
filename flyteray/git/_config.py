"""The configuration of a git repository."""

from __future__ import annotations

from pathlib import Path

from flyteray.config import Config, auto
from flyteray.config._file import git_root


def config_from_root(path: str | Path = ".flyte/config.yaml") -> Config | None:
    """What a file below the root of the working directory's git repository configures; None: there is none.

    Args:
        path: Where the file is, below the root.
    """
    root = git_root(Path.cwd())
    file = root / path if root else None
    return auto(file) if file and file.is_file() else None
