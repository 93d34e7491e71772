"""A type's name is read back as the type, where it means the same everywhere."""

from __future__ import annotations

import ast
import datetime
import decimal
import types
import typing
import uuid
from collections import abc
from pathlib import Path
from typing import Any

from flyteray._plan.values.parser import Text
from flyteray.io import Dir, File

_CLASSES: tuple[type, ...] = (
    *(bool, int, float, str, bytes, complex, list, dict, set, frozenset, tuple),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    *(decimal.Decimal, uuid.UUID, Path, File, Dir),
    *(abc.Sequence, abc.Mapping, abc.Iterable, abc.Collection),
)
_OF_TYPING = ("Any", "Optional", "Union", "Literal", "List", "Dict", "Set", "Tuple")
_KNOWN: dict[str, Any] = {
    **{each.__name__: each for each in _CLASSES},
    **{name: getattr(typing, name) for name in _OF_TYPING},
    **dict.fromkeys(("None", "NoneType"), types.NoneType),
}


def type_of(words: str) -> Any:
    """The type that is described by words; :class:`Text` where they name one that only the task's code knows."""
    try:
        return _type(ast.parse(words, mode="eval").body)
    except (SyntaxError, KeyError, TypeError, ValueError):
        return Text


def _type(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _KNOWN[node.id]
    if isinstance(node, ast.Attribute):
        return _KNOWN[node.attr]
    if isinstance(node, ast.Constant) and node.value in (None, Ellipsis):
        return types.NoneType if node.value is None else Ellipsis
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return typing.Union[_type(node.left), _type(node.right)]  # noqa: UP007  # of types known only now
    if isinstance(node, ast.Subscript):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        kind = _type(node.value)
        if kind is typing.Literal:
            return kind[tuple(ast.literal_eval(each) for each in inside)]
        return kind[tuple(map(_type, inside))] if len(inside) > 1 else kind[_type(inside[0])]
    raise ValueError(ast.unparse(node))
