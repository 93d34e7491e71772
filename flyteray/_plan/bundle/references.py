"""A reference names a task or app where its code is: it is made for one that code calls, and resolved to the object.

Every worker does this, and needs nothing of what ships code.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flyteray._declare.loading import loads
from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import pickles
from flyteray._plan.spec import CodeRef
from flyteray.errors import ModuleLoadError
from flyteray.storage.pickler import alias_main, is_guarded

if TYPE_CHECKING:
    from flyteray.app.environment import AppEnvironment


def beside(task: Task[..., Any], bundle: str) -> CodeRef:
    """Where a task is found that code of a bundle, which is active here, calls."""
    task = task.declared()
    module, name = home(task) or ("", task.name)
    return CodeRef(bundle=bundle, module=module, name=name)


def load(ref: CodeRef, folder: Path | None) -> Any:
    """The object that a reference names; its bundle must be active, unpacked in ``folder``, unless nothing was shipped.

    ModuleLoadError where the module can't be imported here (the user's exception is the cause), lacks the name, or
    would start something on a cluster.
    """
    if not ref.module:
        with loads().loading():
            by_value = pickles.load(folder) if folder and (folder / pickles.FILE).exists() else {}
            if ref.name not in by_value:
                raise ModuleLoadError(
                    f"{ref.name!r} was not shipped: it is not a global of any module, and what was shipped does not "
                    "refer to it. Define it at the top level of a file."
                )
            return by_value[ref.name]
    try:
        with loads().loading():
            found: Any = importlib.import_module(ref.module)
    except ModuleLoadError:  # it says by itself where what stands
        raise
    except (Exception, SystemExit) as error:
        hint = "" if folder else " Nothing was shipped with it: the cluster's own Python must find it."
        raise not_imported(f"Module {ref.module!r}", error, hint) from error
    for part in ref.name.split("."):
        if not hasattr(found, part):
            raise ModuleLoadError(
                f"Module {ref.module!r} has no {ref.name!r} when imported anew: keep it at top level."
            )
        found = getattr(found, part)
    return found


def home(declared: Task[..., Any] | AppEnvironment) -> tuple[str, str] | None:
    """The module that can be imported elsewhere and the name in it; None: there is none."""
    if isinstance(declared, Task):
        module, name = sys.modules.get(declared.__module__), declared.__qualname__
        is_there = module is not None and getattr(module, name, None) is declared
        if module is not None and is_there and (importable := _importable(module, name)) is not None:
            return importable, name
    # A module's dict, not getattr: lazy modules would load at a touch.
    dicts = [(module, getattr(module, "__dict__", {})) for module in list(sys.modules.values())]
    if not isinstance(declared, Task):  # the module that declares it, before those that import it
        dicts.sort(key=lambda each: each[1].get("__file__") != declared._declaring_file)
    for module, names in dicts:
        for name, value in list(names.items()):
            if value is declared and (importable := _importable(module, name)) is not None:
                return importable, name
    return None


def not_imported(subject: str, error: BaseException, hint: str) -> ModuleLoadError:
    """The error for what could not be imported, by what it is and what it raised."""
    if isinstance(error, SystemExit):
        advice = 'put that under `if __name__ == "__main__":`.'
        return ModuleLoadError(f"{subject} ends the process ({error.code}) when it is imported: {advice}")
    return ModuleLoadError(f"{subject} could not be imported: {type(error).__name__}: {error}{hint}")


def _importable(module: ModuleType, name: str) -> str | None:
    """What a module is called elsewhere; None: it can't be imported there, or lacks the name then."""
    if module.__name__ != "__main__":
        return module.__name__
    return None if is_guarded(name) else alias_main()
