"""Names become objects and objects become names: ``file.py:name`` → object, object → ``CodeRef`` → object."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from flyteray._declare.environment import Environment
from flyteray._declare.task import Task
from flyteray._plan import bundle
from flyteray._plan.bundle import Bundle
from flyteray._plan.pickling import alias_main
from flyteray._plan.shipping import SHIPPING, Shipping
from flyteray._plan.spec import CodeRef
from flyteray.app.environment import AppEnvironment
from flyteray.errors import CodeBundleError, ModuleLoadError

T = TypeVar("T", Task[..., Any], AppEnvironment, Environment)


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file as the module that it is: ``pkg/train.py`` inside a package is ``pkg.train``.

    Raises:
        ModuleLoadError: no such file, not a Python file, or importing it failed (the user's exception is the cause).
    """
    file = Path(path)
    if not file.is_file():
        raise ModuleLoadError(
            f"There is no file {str(path)!r}: check the path (working directory: {Path.cwd()})."
        )
    if file.suffix != ".py":
        raise ModuleLoadError(f"{str(path)!r} is not a Python file: give one that ends in .py.")
    file = file.resolve()
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() != file:
        raise ModuleLoadError(
            f"{str(path)!r} would be imported as {name!r}, but a module of that name is loaded already "
            f"({getattr(loaded, '__file__', 'built in')}): rename the file."
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ModuleLoadError(
            f"{str(path)!r} could not be imported: {type(error).__name__}: {error}"
        ) from error


def lookup(module: ModuleType, name: str, kind: type[T]) -> T:
    """The task or app environment called ``name`` in a module.

    Raises:
        ModuleLoadError: no such name, or it is something else; the message lists what there is.
    """
    found = getattr(module, name, None)
    if isinstance(found, kind):
        return found
    there = sorted(key for key, value in vars(module).items() if isinstance(value, kind))
    what = {Task: "task", AppEnvironment: "app environment"}.get(kind, "environment")
    hint = f"it has: {', '.join(there)}" if there else f"it has no {what} at all"
    wrong = f"is a {type(found).__name__}, not a {what}" if found is not None else "does not exist"
    raise ModuleLoadError(f"{name!r} in {module.__name__!r} {wrong}; {hint}.")


def ship(declared: Task[..., Any] | AppEnvironment, shipping: Shipping = SHIPPING) -> tuple[CodeRef, Bundle]:
    """Where a task or app environment is found on another machine, and the code to find it in.

    Args:
        declared: What is to be found there.
        shipping: What travels, and how.

    Raises:
        CodeBundleError: it has no importable name (a notebook, a function inside a function).
    """
    if shipping != Shipping(version=shipping.version):
        raise CodeBundleError(f"Code can't be shipped like this yet: {shipping}.")
    alias_main()
    module, name = _home(declared)
    made = bundle.build(module)
    return CodeRef(bundle=made.digest, module=module, name=name), made


def load(ref: CodeRef) -> Any:
    """The object that a reference names; its bundle must be active.

    Raises:
        ModuleLoadError: the module can't be imported here (the user's exception is the cause), or lacks the name.
    """
    try:
        found: Any = importlib.import_module(ref.module)
    except Exception as error:
        raise ModuleLoadError(
            f"Module {ref.module!r} could not be imported: {type(error).__name__}: {error}"
        ) from error
    for part in ref.name.split("."):
        if not hasattr(found, part):
            raise ModuleLoadError(
                f"Module {ref.module!r} has no {ref.name!r} when imported anew: keep it at top level."
            )
        found = getattr(found, part)
    return found


def _home(declared: Task[..., Any] | AppEnvironment) -> tuple[str, str]:
    if isinstance(declared, Task):
        declared = declared.declared()
        home = sys.modules.get(declared.func.__module__)
        name = declared.func.__qualname__
        if home is not None and getattr(home, name, None) is declared:
            return _importable(home), name
    for home in list(sys.modules.values()):
        # A module's dict, not getattr: lazy modules would load at a touch.
        for name, value in list(getattr(home, "__dict__", {}).items()):
            if value is declared:
                return _importable(home), name
    raise CodeBundleError(
        f"{declared.name!r} can't be shipped: it is not a global of any module. Define it at the top level of a file."
    )


def _importable(module: ModuleType) -> str:
    if module.__name__ != "__main__":
        return module.__name__
    stem = alias_main()
    if stem is None:
        raise CodeBundleError(
            "What is defined in an interactive session can't be shipped to a cluster: put it in a .py file and "
            'import it, or use mode="local".'
        )
    return stem
