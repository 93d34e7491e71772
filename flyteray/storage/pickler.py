"""A Python value becomes bytes by cloudpickle, which refers to a script's classes and functions by name."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pickle
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import IO, Any

import cloudpickle

from flyteray._declare.tasks.task import Task
from flyteray.errors import ModuleLoadError
from flyteray.storage import tensors
from flyteray.storage.tensors import Storages

PROTOCOL = 5
_MEMBERS_TRIED = 1000  # of one container, when looking for what can't be pickled
_STEPS_TRIED = 100
_STEPS_SHOWN = 10


_NUMBERS = (int, float, bool, type(None))
_TEXTS = (str, bytes)
_SHORT = 4096  # characters or bytes; more is better not held in memory twice
_FEW = 16


def plainly(value: object) -> bytes | None:
    """The pickle of a few numbers and short texts in a tuple, or by name in a dict; None of all else.

    It is what :class:`Pickler` would give, which costs several times as much to make.
    """
    members: Iterable[Any] = ()
    if type(value) is tuple:
        members = value
    elif type(value) is dict:
        members = (*value, *value.values())
    else:
        return None
    if len(value) > _FEW:
        return None
    for member in members:
        kind = type(member)
        if kind not in _NUMBERS and (kind not in _TEXTS or len(member) > _SHORT):
            return None
    return pickle.dumps(value, PROTOCOL)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle ships no types
    """cloudpickle's pickler, but classes, functions and tasks of a script travel as ``module.name``.

    A script that runs as ``python app.py`` is ``__main__`` here and ``app`` on a worker. cloudpickle copies
    what ``__main__`` defines by value, so a worker would see classes of its own; by reference there is one.
    What can't be found by name (lambdas, nested functions, notebooks) still goes by value.

    Args:
        file: Where the pickle goes.
        buffer_callback: Takes the large buffers, as in :class:`pickle.Pickler`.
    """

    def __init__(self, file: IO[bytes], buffer_callback: Callable[[Any], object] | None = None) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._storages = Storages() if tensors.are_there() else None

    def reducer_override(self, obj: Any) -> Any:
        """Refer to a class, function or task of the running script by name, and leave tensors' memory where it is."""
        if self._storages is not None and (reduced := self._storages.reduced(obj)) is not None:
            return reduced
        if (
            isinstance(obj, (type, FunctionType, Task))
            and getattr(obj, "__module__", None) == "__main__"
            and _is_top_level(obj)
            and (module := alias_main()) is not None
        ):
            return _resolve, (module, obj.__qualname__)
        return super().reducer_override(obj)


def alias_main() -> str | None:
    """Make the running script importable under the name that workers know it by.

    Returns:
        The module name: the file's stem after ``python app.py``, the full name after ``python -m pkg.mod``.
        None when there is none: in a notebook, at a prompt (also after ``python -i app.py``: what is typed there is in
        no file), or when another module has taken the name already.
    """
    main = sys.modules["__main__"]
    name = main_name(main)
    if name is None or hasattr(sys, "ps1"):
        return None
    taken = sys.modules.get(name)
    if taken is not None and taken is not main and getattr(taken, "__file__", None) != main.__file__:
        return None
    sys.modules[name] = main
    return name


def main_name(main: ModuleType) -> str | None:
    """The name under which a module that runs as ``__main__`` can be imported; None: it can't be."""
    spec = getattr(main, "__spec__", None)  # pdb's script has none
    if spec is not None:  # python -m; a folder or zip file run as a program has no name but __main__
        return None if spec.name == "__main__" else spec.name
    file = Path(getattr(main, "__file__", None) or "")
    # No file: a notebook. No suffix: an installed command such as bin/flyteray.
    return file.stem if file.suffix == ".py" and "." not in file.stem else None


def is_guarded(name: str) -> bool:
    """Whether the running script defines a name only below ``if __name__ == "__main__":``, so that no import has it."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return file is not None and name in _guarded_names(file)


def unpicklable_part(value: object, name: str) -> tuple[str, object]:
    """The part of ``value`` that can't be pickled, after its path, which starts with ``name``."""
    seen: set[int] = set()
    path: list[str] = []
    found = True
    while found and len(path) < _STEPS_TRIED:
        seen.add(id(value))
        found = False
        for count, (step, member) in enumerate(_members(value)):
            if count == _MEMBERS_TRIED:
                break
            if id(member) not in seen and not _can_pickle(member):
                path.append(step)
                value, found = member, True
                break
    if len(path) > _STEPS_SHOWN:
        path = [*path[:_STEPS_SHOWN], " … ", path[-1]]
    return name + "".join(path), value


def _members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{reprlib.repr(key)}]", member) for key, member in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", member) for index, member in enumerate(value))
    elif isinstance(value, FunctionType):
        try:
            used = inspect.getclosurevars(value)
        except ValueError:  # of one whose name is bound later
            return
        yield from ((f" uses {name}", member) for name, member in {**used.globals, **used.nonlocals}.items())
    elif not isinstance(value, (type, ModuleType)) and hasattr(value, "__dict__"):
        yield from ((f".{key}", member) for key, member in vars(value).items())


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


def _can_pickle(value: object) -> bool:
    try:
        Pickler(_Nowhere(), buffer_callback=lambda buffer: None).dump(value)  # type: ignore[arg-type] # all it uses
    except Exception:  # noqa: BLE001 # users' __reduce__ may raise anything
        return False
    return True


def _is_top_level(obj: type | FunctionType | Task[..., Any]) -> bool:
    found: Any = sys.modules["__main__"]
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj and not is_guarded(obj.__qualname__.partition(".")[0])


@functools.cache
def _guarded_names(file: str) -> frozenset[str]:
    try:
        statements = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError):  # gone or edited since it was started
        return frozenset()
    guarded, open_to_all = set[str](), set[str]()
    for statement in statements:
        if isinstance(statement, ast.If) and (imported := _when_imported(statement.test)) is not None:
            runs, skipped = (
                (statement.body, statement.orelse) if imported else (statement.orelse, statement.body)
            )
            guarded.update(name for each in skipped for name in _bound_by(each))
            open_to_all.update(name for each in runs for name in _bound_by(each))
        else:
            open_to_all.update(_bound_by(statement))
    return frozenset(guarded - open_to_all)


def _when_imported(test: ast.expr) -> bool | None:
    """The value of a condition on ``__name__`` in an imported module; None: it is none, or nobody can tell."""
    if not any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test)):
        return None
    condition = compile(ast.Expression(test), "<guard>", "eval")
    try:
        # However it is written. It can use nothing but the name: `and` with anything behind a name that is another.
        return bool(eval(condition, {"__builtins__": {}, "__name__": "<imported>"}))
    except Exception:  # noqa: BLE001  # a condition on other things as well
        return None


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _bound_by(child)


def _resolve(module: str, qualname: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModuleLoadError(
            f"A value of {module}.{qualname} can't be read here: there is no module {module!r}. Ship the "
            "file that defines it, or import it here first."
        ) from error
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise ModuleLoadError(
            f"A value of {module}.{qualname} can't be read here: {module!r} has no such name. Use the "
            "version of the file that the value was made with, or make the value again."
        ) from error
    return found
