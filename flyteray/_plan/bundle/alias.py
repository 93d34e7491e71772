"""``flyte`` is another name of flyteray: programs that say ``import flyte`` are given flyteray's own modules."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

MARK = "FLYTERAY_AS_FLYTE"  # an environment variable: the processes below mean flyteray by ``flyte``

_NAME = "flyte"
_OURS = __name__.partition(".")[0]
_FOLDER = str(Path(__file__).parent / "flyte_path")  # holds a flyte.py for the processes that this one starts


class _Finder(MetaPathFinder, Loader):
    """Finds ``flyte.x`` as ``flyteray.x``, the very same module, before anything that is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_meant(fullname):
            return None
        if importlib.util.find_spec(_ours(fullname)) is None:
            raise ModuleNotFoundError(
                f"There is no module {fullname!r}: flyte is flyteray here, which has no {_ours(fullname)!r}.",
                name=fullname,
            )
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        # What is in its place afterwards is what the import gives.
        sys.modules[module.__name__] = importlib.import_module(_ours(module.__name__))


def install() -> None:
    """Make ``flyte`` mean flyteray in this process and in those that it starts, also where the real one is installed.

    A real one that is loaded already is forgotten.
    """
    if not installed():
        for name in [name for name in sys.modules if _is_meant(name)]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Finder())
    sys.modules[_NAME] = sys.modules[_OURS]
    os.environ[MARK] = "1"
    if _FOLDER not in sys.path:
        sys.path.insert(1, _FOLDER)  # behind the program's own folder; multiprocessing hands the path on
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_FOLDER, without(os.environ.get("PYTHONPATH"))]))


def installed() -> bool:
    """Whether ``flyte`` means flyteray in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def paths() -> list[str]:
    """What comes first on the import path of Python programs, so that ``flyte`` means there what it means here."""
    return [_FOLDER] if installed() else []


def without(python_path: str | None) -> str:
    """A ``PYTHONPATH`` for processes in which ``flyte`` is to mean what is installed."""
    return os.pathsep.join(entry for entry in (python_path or "").split(os.pathsep) if entry != _FOLDER)


def found_instead() -> None:
    """Put flyteray in the place of the folder's ``flyte.py``, or step aside.

    Ray hands a driver's import path on to workers, and these may run code that means what is installed.
    """
    if MARK in os.environ:
        install()
        return
    sys.path[:] = [entry for entry in sys.path if entry != _FOLDER]
    del sys.modules[_NAME]
    importlib.import_module(_NAME)


def _is_meant(name: str) -> bool:
    return name == _NAME or name.startswith(f"{_NAME}.")


def _ours(name: str) -> str:
    return _OURS + name.removeprefix(_NAME)
