"""The user's code on a worker: fetched once per node, imported once per process, at hand in the working folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flyteray import _private
from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._machine.shared_folder import SharedFolder
from flyteray._plan.bundle import bundle, references
from flyteray._plan.spec import CodeRef
from flyteray.errors import RuntimeSystemError

_UNTOUCHED_NS = 0  # when a folder was changed in which nothing was added or removed since: one look tells


def load_code(ref: CodeRef) -> Any:
    """The task or app environment that ``ref`` names, its bundle made importable first.

    ModuleLoadError where the user's module fails to import (the user's exception is the cause), or would start
    something on a cluster.
    """
    return references.load(ref, activate(ref.bundle))


def activate(digest: str) -> Path | None:
    """Make a bundle importable in this process; its folder on this node, None where nothing was shipped.

    RuntimeSystemError where this node has no room for it.
    """
    if not digest:
        return None
    folder = bundle.cache_folder()
    with _told_of_disk(folder):
        return bundle.activate(digest, lambda: ask(controller().code.get(digest)), folder)


@contextlib.contextmanager
def _told_of_disk(folder: Path) -> Iterator[None]:
    """Have what this node's disk refuses name the node and the folder."""
    try:
        yield
    except OSError as error:
        from flyteray._cluster import nodes  # deferred: an app beside this process needs no Ray

        raise RuntimeSystemError(
            "NodeDiskError",
            f"The code can't be put into {folder} on the machine {nodes.own_address()}: {error.strerror or error}. "
            "Mend that there, for example make room, and try again.",
        ) from error


class Workplace:
    """A working folder for one action after the other; files that one leaves at its top, the next does not find.

    It links to the top of the bundle, so files open by the relative path that they have beside the code.
    """

    def __init__(self, code: Path) -> None:
        parent = bundle.cache_folder().parent / f"flyteray-work-{os.getuid()}"
        self._code = code
        with _told_of_disk(parent):
            self._own = SharedFolder.new(parent)
            self._folder = str(self._own.path / "code")  # what Python's functions take at once
            self._furnish()

    def enter(self) -> None:
        """Make it the process's working folder."""
        os.chdir(self._folder)

    def tidy(self) -> None:
        """Remove files that were put there and bring back links that were taken away."""
        if os.stat(self._folder).st_mtime_ns != _UNTOUCHED_NS:
            os.chdir(self._own.path)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._furnish()

    def _furnish(self) -> None:
        folder = Path(self._folder)
        folder.mkdir(mode=_private.FOLDER, exist_ok=True)
        furnish(folder, self._code)
        os.utime(self._folder, ns=(_UNTOUCHED_NS, _UNTOUCHED_NS))


def furnish(folder: Path, code: Path) -> None:
    """Put links to the files and folders at the top of a bundle into a folder."""
    for name in os.listdir(code):
        if name not in (bundle.OWN, "__pycache__") and not os.path.lexists(folder / name):
            os.symlink(code / name, folder / name)
