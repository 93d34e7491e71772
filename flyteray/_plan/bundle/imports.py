"""A module's imports are read from its source, and theirs, to find the modules of the user that it needs."""

from __future__ import annotations

import ast
import functools
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from flyteray._plan.bundle import sources
from flyteray._plan.bundle.sources import State
from flyteray._version import HOUSE
from flyteray.errors import CodeBundleError


def closure(entries: Iterable[str]) -> Mapping[str, Path]:
    """The user's modules among ``entries`` and what these import, directly or not, with their files.

    Modules of the standard library, of installed packages and of flyteray are not the user's. Nothing is imported.
    CodeBundleError where a file can't be read or is not Python.
    """
    places = _Places()
    found: dict[str, Path] = {}
    seen: set[str] = set()
    queue = [name for name in entries if name != "__main__"]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        path = places.user_file(name)
        if path is not None:
            found[name] = path
            queue.extend(_imported(name, path))
        if "." in name:
            queue.append(name.rpartition(".")[0])
    return found


@functools.lru_cache(maxsize=4096)
def imported_by(code: CodeType) -> frozenset[str]:
    """The modules that a compiled function imports when it is called."""
    import dis  # deferred: only code that travels by value is looked into

    found: set[str] = set()
    module = ""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            module = step.argval
            found.add(module)
        elif step.opname == "IMPORT_FROM":
            found.add(f"{module}.{step.argval}")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= imported_by(constant)
    return frozenset(found)


def root_of(name: str, path: Path) -> Path:
    """The folder that a module is imported from: what is on ``sys.path``."""
    depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
    return path.parents[depth]


def import_root(file: Path) -> Path:
    """The folder that a file is imported from: the first one above it that is no package."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def archive_name(name: str, path: Path) -> str:
    """Where a module is below the folder that it is imported from."""
    return name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")


class _Place(NamedTuple):
    """Where a module is: its file, and for packages the folders of its submodules."""

    file: str | None
    folders: Sequence[str] | None


class _Places:
    """Finds modules as an import would, but runs none of their code."""

    def __init__(self) -> None:
        self._known: dict[str, _Place | None] = {}

    def user_file(self, name: str) -> Path | None:
        place = None if self._is_foreign(name.partition(".")[0]) else self._place(name)
        if place is None or place.file is None or not place.file.endswith(".py"):
            return None
        path = _resolved(place.file)
        return None if is_installed(path) else path

    def _is_foreign(self, top: str) -> bool:
        """Whether none of a top-level package is the user's; a package without a file may be in many places."""
        if top not in sys.modules and top in sys.stdlib_module_names:
            return True
        place = self._place(top)
        if place is None:
            return True
        if place.file is None:
            return place.folders is None
        return not place.file.endswith(".py") or is_installed(_resolved(place.file))

    def _place(self, name: str) -> _Place | None:
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> _Place | None:
        loaded = sys.modules.get(name)
        if loaded is not None:
            return _Place(getattr(loaded, "__file__", None), getattr(loaded, "__path__", None))
        folders = None
        parent = name.rpartition(".")[0]
        if parent:
            package = self._place(parent)
            if package is None or package.folders is None:
                return None  # `from module import name`: a name, not a module
            folders = list(package.folders)
        for finder in sys.meta_path:
            try:
                spec = finder.find_spec(name, folders)
            except (ImportError, ValueError, AttributeError):
                continue  # an import that is optional, or a finder of old style
            if spec is not None:
                return _Place(spec.origin if spec.has_location else None, spec.submodule_search_locations)
        return None


@functools.lru_cache(maxsize=4096)
def _resolved(file: str) -> Path:
    return Path(file).resolve()


@functools.lru_cache(maxsize=4096)
def is_installed(path: Path) -> bool:
    """Whether a file is Python's own, flyteray's or an installed package's."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in _installed_folders())


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    folders = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), HOUSE)
    return tuple(Path(folder).resolve() for folder in folders)


def _imported(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for level, base, names in _import_statements(sources.state(path)):
        if level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - level + 1], *([base] if base else [])])
        if base:
            yield base
            yield from (f"{base}.{each}" for each in names)


@functools.lru_cache(maxsize=4096)
def _import_statements(state: State) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    path = Path(state.path)
    try:
        tree = ast.parse(sources.read(path), filename=state.path)
    except SyntaxError as error:
        raise CodeBundleError(f"{path} is not valid Python: {error.msg} (line {error.lineno}).") from error
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names if alias.name != "*")
            found.append((node.level, node.module or "", names))
    return tuple(found)
