"""A layout gives files their places in a bundle: modules below the folders they are imported from, or a root's all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flyteray._plan.bundle import imports
from flyteray._plan.bundle.bundle import OWN
from flyteray.errors import CodeBundleError

MOST_FILES = 50_000

_ELSEWHERE = f"{OWN}/modules"


class Layout:
    """The contents of a bundle while they are put together; module files and others keep their relative places.

    ``modules`` are shipped, by name; ``root`` is the folder that the bundle mirrors, without which every module is
    placed by its name alone.
    """

    def __init__(self, modules: Mapping[str, Path], root: Path | None) -> None:
        self.contents: dict[str, Path | bytes] = {}
        self.paths: list[str] = []
        self._root = root
        self._roots = {path: imports.root_of(name, path) for name, path in modules.items()}
        for name, path in modules.items():
            self._add_module(name, path)
        if root is not None:
            self._add_path(".")

    def add_below_root(self, file: Path) -> None:
        """Add a file below the root; CodeBundleError where there are more than anybody means to ship."""
        assert self._root is not None
        if len(self.contents) >= MOST_FILES:
            raise CodeBundleError(
                f"{self._root} has more than {MOST_FILES:,} files to ship. Name what is not needed in a .flyteignore "
                "there, or give a root_dir further down."
            )
        self.contents[file.relative_to(self._root).as_posix()] = file

    def add_beside(self, file: Path, module_file: Path) -> None:
        """Add a file so that it is found from a module's file by the same relative path as here.

        CodeBundleError where it is outside the folder that the bundle mirrors, or its place is taken.
        """
        base = self._root or self._roots.get(module_file) or imports.import_root(module_file)
        try:
            place = file.relative_to(base).as_posix()
        except ValueError:
            raise CodeBundleError(
                f"{file} is outside {base}, the folder that the code is shipped from, so it can't keep its place. "
                "Move it there, or give a root_dir that contains both."
            ) from None
        self.add(file, place)

    def add(self, file: Path, place: str) -> None:
        """Add a file at a place of its own; CodeBundleError where another one has that."""
        there = self.contents.get(place)
        if there is not None and there != file:
            both = f"{there!s} and {file!s}"
            raise CodeBundleError(f"{both} would both be {place!r} in the code that is shipped.")
        self.contents[place] = file

    def _add_module(self, name: str, path: Path) -> None:
        place = imports.archive_name(name, path)
        if self._root is None:
            self.contents[place] = path
        elif path.is_relative_to(self._root) and Path(place).name == path.name:
            self.add_below_root(path)
            root = self._roots[path]
            if root.is_relative_to(self._root):
                self._add_path(root.relative_to(self._root).as_posix())
        else:
            self.contents[f"{_ELSEWHERE}/{place}"] = path
            self._add_path(_ELSEWHERE)

    def _add_path(self, path: str) -> None:
        if path not in self.paths:
            self.paths.append(path)
