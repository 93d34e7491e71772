"""A public module is named by its classes, and has a stand-in for each name that it has in Flyte and not here.

An absent part of Flyte is a name all the same, so that files load; using it says what to use here.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping
from typing import Any, NoReturn


def adopt(module: str, names: Mapping[str, object]) -> None:
    """Give classes their public module, which reprs, tracebacks and pickles then tell.

    Args:
        module: The public module. A class moves to one that is nearer to the root only.
        names: What the module offers. A class under another name than its own stays where it is.
    """
    for name, cls in names.items():
        if isinstance(cls, type) and cls.__name__ == name and cls.__module__.count(".") > module.count("."):
            _resolve_annotations(cls)
            cls.__module__ = module


def _resolve_annotations(cls: type) -> None:
    """Put types in place of texts, whose names are looked up in the module that a class tells."""
    home = vars(sys.modules[cls.__module__])
    fields = getattr(cls, "__dataclass_fields__", {})
    for name, annotation in cls.__annotations__.items():
        if isinstance(annotation, str):
            with contextlib.suppress(NameError):  # imported for type checkers only
                cls.__annotations__[name] = eval(annotation, {**vars(cls)}, home)
        if name in fields:
            fields[name].type = cls.__annotations__[name]


class _Absent(type):
    """A class of which there are no instances and no subclasses, and whose methods are not there either."""

    _absent_name: str
    _absent_instead: str

    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any], **options: Any) -> _Absent:
        for base in bases:
            if isinstance(base, _Absent):
                base._refuse()
        return super().__new__(cls, name, bases, names)

    def __call__(cls, *args: object, **options: object) -> NoReturn:
        cls._refuse()

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"{cls._absent_name} has no attribute {name!r}.")
        cls._refuse()

    def _refuse(cls) -> NoReturn:
        raise refused(cls._absent_name, cls._absent_instead)


def absent(module: str, name: str, instead: Mapping[str, str]) -> Any:
    """The stand-in for a part of Flyte, for the ``__getattr__`` of the module that has it there.

    Args:
        module: The public module.
        name: What is looked for in it.
        instead: The parts that are absent, and for each of them what to use here.

    Raises:
        AttributeError: Flyte has no such name either.
    """
    if name not in instead:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return _stand_in(module, name, instead[name])


def refused(name: str, instead: str) -> NotImplementedError:
    """The error of a part that a class has in Flyte."""
    return NotImplementedError(f"There is no {name}: {instead}")


@functools.cache
def _stand_in(module: str, name: str, instead: str) -> _Absent:
    told = f"{module}.{name}"
    return _Absent(
        name,
        (),
        {"__module__": module, "__doc__": instead, "_absent_name": told, "_absent_instead": instead},
    )
