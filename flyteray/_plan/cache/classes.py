"""The shape of a class tells whether values that were kept are still values of it: its fields and their types."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flyteray._declare.loading import loads
from flyteray._declare.tasks.hints import of_fields
from flyteray._plan.values.type_hints import meant, type_name
from flyteray.storage.pickler import alias_main

_INSTALLED = ("site-packages", "dist-packages")  # what the packages there hold is theirs to read again


def shapes(kinds: Iterable[Any]) -> dict[str, str]:
    """The shapes of the classes that annotations and types mention, and of those that their fields are of."""
    found: dict[str, str] = {}
    todo = list(kinds)
    while todo:
        annotation = meant(todo.pop())
        todo += typing.get_args(annotation)
        kind: Any = typing.get_origin(annotation) or annotation
        if not isinstance(kind, type) or not _is_of_users(kind.__module__):
            continue
        module = alias_main() if kind.__module__ == "__main__" else None
        name = f"{module or kind.__module__}:{kind.__qualname__}"
        if name not in found and "<locals>" not in name:
            found[name] = _shape(kind)
            todo += of_fields(kind).values()
    return found


def changed(known: Mapping[str, str]) -> str | None:
    """A class that has another shape now, or is not there any more, in words; None where all are as they were."""
    for name, shape in known.items():
        module, _, qualname = name.partition(":")
        try:
            with loads().loading():
                kind: Any = importlib.import_module(module)
            for part in qualname.split("."):
                kind = getattr(kind, part)
        except Exception as error:  # noqa: BLE001  # a module that is imported may do anything
            return f"class {qualname} of module {module} can't be found ({error})"
        if _shape(kind) != shape:
            return f"class {qualname} of module {module} has changed"
    return None


def _is_of_users(module: str) -> bool:
    package = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    known = package in sys.stdlib_module_names and package != "__main__"
    return not known and package != "flyteray" and not any(each in Path(file).parts for each in _INSTALLED)


def _shape(kind: Any) -> str:
    if issubclass(kind, enum.Enum):
        told: object = [(each.name, repr(each.value)) for each in kind]
    else:
        fields = sorted((name, type_name(each)) for name, each in of_fields(kind).items())
        # What is set in __init__ is what an instance has.
        made = {} if dataclasses.is_dataclass(kind) else vars(kind).get("__init__")
        names = getattr(getattr(made, "__code__", None), "co_names", ())
        told = fields, sorted(names), getattr(kind, "__slots__", ())
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
