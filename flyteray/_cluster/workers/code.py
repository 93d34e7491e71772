"""The user's code on a worker: fetched from the controller once per node, imported once per process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._plan.bundle import bundle, code
from flyteray._plan.spec import CodeRef


def load_code(ref: CodeRef) -> Any:
    """The task or app environment that ``ref`` names, its bundle made importable first.

    ModuleLoadError where the user's module fails to import (the user's exception is the cause), or would start
    something on a cluster.
    """
    return code.load(ref, activate(ref.bundle))


def activate(digest: str) -> Path | None:
    """Make a bundle importable in this process; its folder on this node, None where nothing was shipped."""
    if not digest:
        return None
    return bundle.activate(digest, lambda: ask(controller().code.get(digest)), bundle.cache_folder())
