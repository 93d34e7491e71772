"""A public class names the module that users import it from."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping


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
