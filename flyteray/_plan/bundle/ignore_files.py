"""Ignore files leave out what is not meant of the files below a folder, as do rules for caches and environments."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pathspec import GitIgnoreSpec

from flyteray._plan.bundle import sources

IGNORE_FILES = (".gitignore", ".flyteignore")  # the later one wins: `!name` in it brings a file back

_USUAL = (
    *(".git", ".hg", ".svn", ".flyteray/"),
    *("__pycache__/", "*.pyc", ".venv/", "venv/", ".env", ".cache/"),
    *(".ruff_cache/", ".mypy_cache/", ".pytest_cache/", ".ipynb_checkpoints/"),
    *(".idea/", ".vscode/", ".DS_Store", "node_modules/"),
    *("*.egg-info/", "*.egg", "*.whl", "*.log", "/build/", "/dist/"),
)


def files_below(root: Path, ignore_files: Sequence[str] = IGNORE_FILES) -> Iterator[Path]:
    """Every file below a folder that is not ignored, sorted; links are followed, each folder is entered once.

    Ignore files have Git's syntax and count in every folder down from the repository's own. Unlike Git, which goes on
    with a file that it tracks already, an ignored file is ignored. CodeBundleError where an ignore file can't be read.
    """
    rules = [_Rules(root, _USUAL)]
    for folder in _above(root):
        rules.extend(_own_rules(folder, ignore_files))
    yield from _walk(root, rules, ignore_files, {os.path.realpath(root)})


def is_clutter(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is one that nobody means: a cache, a log, a virtual environment."""
    return bool(_Rules(folder, _USUAL).verdict(str(path)))


class _Rules:
    """The lines of one ignore file, for what is below its folder."""

    def __init__(self, folder: Path, lines: Iterable[str]) -> None:
        self._cut = len(str(folder).rstrip("/")) + 1
        self._spec = GitIgnoreSpec.from_lines(lines)

    def verdict(self, path: str) -> bool | None:
        """Whether they say that a path is ignored; None: they say nothing of it."""
        return self._spec.check_file(path[self._cut :]).include


def _walk(
    folder: Path, above: Sequence[_Rules], ignore_files: Sequence[str], entered: set[str]
) -> Iterator[Path]:
    rules = [*above, *_own_rules(folder, ignore_files)]
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            is_venv = os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
            if real in entered or is_venv or _is_ignored(f"{entry.path}/", rules):
                continue
            entered.add(real)
            yield from _walk(Path(entry.path), rules, ignore_files, entered)
        elif entry.is_file() and not _is_ignored(entry.path, rules):
            yield Path(entry.path)


def _is_ignored(path: str, rules: Sequence[_Rules]) -> bool:
    verdicts = (each.verdict(path) for each in reversed(rules))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _own_rules(folder: Path, ignore_files: Sequence[str]) -> list[_Rules]:
    found = [folder / name for name in ignore_files if (folder / name).is_file()]
    return [_Rules(folder, sources.read(file).decode(errors="replace").splitlines()) for file in found]


def _above(root: Path) -> list[Path]:
    """The folders from the one of the repository that ``root`` is in down to its parent."""
    for count, folder in enumerate(root.parents, start=1):
        if (folder / ".git").exists():
            return list(reversed(root.parents[:count])) if not (root / ".git").exists() else []
    return []
