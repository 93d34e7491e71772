"""Tasks and apps without an importable home are pickled by value: those of notebooks, prompts and functions."""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import imports
from flyteray._plan.bundle.bundle import OWN
from flyteray.errors import CodeBundleError, ModuleLoadError
from flyteray.storage.pickler import Pickler, alias_main, unpicklable_part

if TYPE_CHECKING:
    from flyteray.app.environment import AppEnvironment

FILE = f"{OWN}/pickled"


def dump(declared: Task[..., Any] | AppEnvironment) -> tuple[bytes, set[str]]:
    """Pickle a task or app with the tasks that its code reaches; names the modules that it needs as well.

    CodeBundleError where a part of it can't be pickled, or two of the tasks share a name.
    """
    try:
        seen = _Survey()
        seen.dump(declared)
        together: dict[str, Any] = {**seen.tasks, declared.name: declared}
        file = io.BytesIO()
        _ByValue(file).dump(together)
    except CodeBundleError:
        raise
    except Exception as error:  # users' __reduce__ may raise anything
        path, part = unpicklable_part(declared, declared.name)
        raise CodeBundleError(
            f"{declared.name!r} has no importable home, so it is pickled, but {path} is a {type(part).__module__}."
            f"{type(part).__qualname__}, which can't be ({error}). Make it inside the function that uses it, or put "
            "the code in a .py file and import it."
        ) from error
    return file.getvalue(), seen.modules


@functools.lru_cache(maxsize=64)
def load(folder: Path) -> Mapping[str, Any]:
    """What a bundle holds by value, by name; unpickled once per process. ModuleLoadError where it can't be."""
    try:
        found: dict[str, Any] = pickle.loads((folder / FILE).read_bytes())
    except ModuleLoadError:
        raise
    except Exception as error:
        raise ModuleLoadError(
            f"What was pickled by value could not be unpickled: {type(error).__name__}: {error}"
        ) from error
    for each in found.values():
        env = each.parent_env() if isinstance(each, Task) else None
        if env is not None:
            env._tasks[each.name] = each
    return found


class _ByValue(Pickler):
    """A pickler that also takes ASGI applications."""

    def reducer_override(self, obj: Any) -> Any:
        """As the base, but Starlette's State is made anew: it looks for its own content before it has any."""
        starlette = sys.modules.get("starlette.datastructures")
        if starlette is not None and type(obj) is starlette.State:
            return starlette.State, (dict(obj._state),)
        return super().reducer_override(obj)


class _Survey(_ByValue):
    """Pickles into nothing and notes the modules that are needed where it is unpickled, and the tasks by name."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.modules: set[str] = set()
        self.tasks: dict[str, Task[..., Any]] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ModuleType):
            self.modules.add(obj.__name__)
        elif isinstance(obj, (type, FunctionType, Task)):
            self.modules.add((alias_main() if obj.__module__ == "__main__" else obj.__module__) or "__main__")
        if isinstance(obj, FunctionType):
            self.modules.update(imports.imported_by(obj.__code__))
        is_own = isinstance(obj, Task) and obj._overridden is None
        if is_own and self.tasks.setdefault(obj.name, obj) is not obj:
            raise CodeBundleError(f"Two different tasks are named {obj.name!r}: rename one.")
        return super().reducer_override(obj)
