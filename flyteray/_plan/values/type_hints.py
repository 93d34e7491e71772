"""A type hint is fit by a value or not, stands for a type, and is told in words.

The checks are Flyte's: ``bool``, ``int``, ``float`` and ``str`` must match exactly (no int for a float),
containers are checked inside, classes by ``isinstance``. An annotation that can't be checked accepts all.
"""

from __future__ import annotations

import datetime
import inspect
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, cast

from typing_extensions import TypeAliasType, is_typeddict

from flyteray._declare.tasks.hints import of_fields
from flyteray._declare.tasks.interface import MISSING

_REQUIRED = re.compile(r"(?:\w+\.)*(NotRequired|Required)\[")
_PLAIN = (bool, int, float, str)
_ALIASES: Any = (TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType))
_UNIONS = (typing.Union, types.UnionType)


def fits(expected: Any, value: Any) -> bool:
    """Whether a value fits an annotation."""
    if type(expected) is type and expected in _PLAIN:  # the most frequent first
        return _is_plain(expected, value)
    expected = meant(expected)
    if expected is Any:
        return True
    if expected is None or expected is types.NoneType:
        return value is None
    origin = typing.get_origin(expected)
    if origin is not None:
        return _fits_generic(origin, typing.get_args(expected), value)
    if is_typeddict(expected):
        return _fits_fields(expected, value)
    if not isinstance(expected, type):
        return True
    if expected in _PLAIN:
        return _is_plain(expected, value)
    if expected is datetime.date:
        return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return is_structural(expected) or _is_a(value, expected)


def meant(expected: Any) -> Any:
    """What an annotation stands for: the type below a NewType, alias or ``Annotated``; ``Any`` where there is none."""
    if type(expected) is type:
        return Any if expected is MISSING else expected
    while True:
        if expected is MISSING or isinstance(expected, typing.TypeVar):
            return Any
        if isinstance(expected, typing.NewType):
            expected = expected.__supertype__
        elif isinstance(expected, _ALIASES):
            expected = expected.__value__
        elif typing.get_origin(expected) is typing.Annotated:
            expected = typing.get_args(expected)[0]
        else:
            return expected


def alternatives(expected: Any) -> tuple[Any, ...]:
    """The types of a union in order; empty for anything else."""
    return typing.get_args(expected) if typing.get_origin(expected) in _UNIONS else ()


def is_structural(kind: Any) -> bool:
    """Whether it says what a value can do, not what it is."""
    return bool(getattr(kind, "_is_protocol", False))


def is_named_tuple(kind: Any) -> bool:
    """Whether it is a NamedTuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def required_keys(kind: Any) -> frozenset[str]:
    """The keys that a TypedDict must have."""
    # Python does not look into annotations that are strings.
    texts = {name: str(getattr(each, "__forward_arg__", each)) for name, each in kind.__annotations__.items()}
    said = {name: match[1] for name, text in texts.items() if (match := _REQUIRED.match(text))}
    told = {name for name, word in said.items() if word == "Required"}
    return frozenset(told | (texts.keys() & kind.__required_keys__) - said.keys())


def mismatch(expected: Any, value: Any) -> str:
    """Why a value does not fit an annotation."""
    problem = f"expected {type_name(expected)}, got {shown(value)}"
    if inspect.iscoroutine(value):
        return f"{problem} (is an await missing?)"
    kind = type(value)
    if kind.__module__ == "numpy" and hasattr(kind, "item") and getattr(value, "ndim", None) == 0:
        return f"{problem} (a {kind.__module__} scalar: its .item() is one of Python's)"
    return problem


def type_name(expected: Any) -> str:
    """An annotation in words, without what ``Annotated`` adds; ``Any`` where there is none."""
    if expected is MISSING:
        return "Any"
    expected = _bare(expected)
    if expected is types.NoneType:
        return "None"
    if isinstance(expected, (type, typing.NewType)) and typing.get_origin(expected) is None:
        return str(expected.__name__)
    return str(expected).replace("typing.", "")


def _bare(expected: Any) -> Any:
    """An annotation without what ``Annotated`` adds anywhere in it."""
    if typing.get_origin(expected) is typing.Annotated:
        return _bare(typing.get_args(expected)[0])
    parts = typing.get_args(expected)
    bare = tuple(map(_bare, parts))
    if all(before is after for before, after in zip(parts, bare, strict=True)):
        return expected
    if alternatives(expected):
        return typing.Union[bare]  # noqa: UP007  # of types known only now
    return expected.copy_with(bare) if hasattr(expected, "copy_with") else typing.get_origin(expected)[bare]


def shown(value: Any) -> str:
    """A value and its type, shortened, whatever its repr does."""
    short = reprlib.Repr()
    short.maxother = short.maxstring = 60
    try:
        text = short.repr(value)
    except Exception:  # noqa: BLE001  # users' __repr__ may raise anything
        text = "(its repr fails)"
    return f"{type(value).__name__}: {text}"


def _is_plain(expected: type, value: Any) -> bool:
    # Subclasses pass (NumPy's float64 is a float), but True is no number and an int no float.
    return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))


def _fits_generic(origin: Any, args: tuple[Any, ...], value: Any) -> bool:
    if origin in _UNIONS:
        return any(fits(option, value) for option in args)
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in args)
    if args and origin in (list, set, frozenset):
        return isinstance(value, origin) and _all_fit(args[0], cast("Iterable[Any]", value))
    if args and origin is dict:
        return isinstance(value, dict) and _all_fit(args[0], value) and _all_fit(args[1], value.values())
    if args and origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return isinstance(value, tuple) and _all_fit(args[0], value)
        return isinstance(value, tuple) and len(args) == len(value) and all(map(fits, args, value))
    return not isinstance(origin, type) or is_structural(origin) or _is_a(value, origin)


def _fits_fields(expected: Any, value: Any) -> bool:
    if not isinstance(value, Mapping) or required_keys(expected) - value.keys():
        return False
    fields = of_fields(expected)
    return all(fits(fields[name], each) for name, each in value.items() if name in fields)


def _all_fit(expected: Any, values: Iterable[Any]) -> bool:
    expected = meant(expected)
    if expected is Any:
        return True
    if type(expected) is type and expected in _PLAIN:  # without a call for each of a million numbers
        return all(type(value) is expected or _is_plain(expected, value) for value in values)
    return all(fits(expected, value) for value in values)


def _is_a(value: Any, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # kinds that refuse the question
        return True
