"""A conversion makes values fit annotations as Flyte does: a dict for a dataclass, a name for a member of an enum."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import is_typeddict

from flyteray._declare.tasks.hints import of_fields
from flyteray._plan.values import type_hints
from flyteray._plan.values.type_hints import fits, meant, mismatch, shown, type_name

_WRITTEN = (Path, decimal.Decimal, uuid.UUID)  # made from what is written, and shown as it


class Unfit(Exception):
    """A value does not fit and can't be made to.

    ``problems`` are pairs of where (``.field``, ``[0]``) and what; or a text, of what is wrong with it as a whole.
    """

    def __init__(self, problems: list[tuple[str, str]] | str) -> None:
        super().__init__(problems)
        self.problems = [("", problems)] if isinstance(problems, str) else problems

    def told(self, name: str) -> str:
        """All of them, with where in the value called ``name`` each is; nothing but that where ``name`` is empty."""
        return "; ".join(
            f"{name}{where}".lstrip(".") + f": {what}" if where else what for where, what in self.problems
        )


class Conversion:
    """Makes values fit annotations.

    Args:
        leaf: Makes a value of a type without fields from another one, or raises :class:`Unfit`.
        keep: Leave what fits as it is; without it all is looked through, and nothing that ``leaf`` is to see is missed.
        key: What to make keys of dicts with, where they are in another form than values.
    """

    def __init__(
        self, leaf: Callable[[Any, Any], Any], *, keep: bool, key: Callable[[Any, Any], Any] | None = None
    ) -> None:
        self._leaf = leaf
        self._keep = keep
        self._key = key or self

    def __call__(self, expected: Any, value: Any) -> Any:
        """The value as the annotation wants it; :class:`Unfit` where it can't be."""
        if self._keep and fits(expected, value):
            return value
        expected = meant(expected)
        if type_hints.alternatives(expected):
            return self._one_of(expected, value)
        kind = typing.get_origin(expected) or expected
        args = typing.get_args(expected)
        if kind in (list, set, frozenset, tuple, dict):
            return self._container(expected, kind, args, value)
        if is_typeddict(kind):
            return self._typed_dict(kind, self._mapping(expected, value))
        if isinstance(kind, type) and kind is not Any and not isinstance(value, kind):
            if hasattr(kind, "__pydantic_validator__"):
                root = getattr(kind, "__pydantic_root_model__", False)
                given = value if root else dict(self._mapping(expected, value))
                return _tried(kind, lambda: kind.__pydantic_validator__.validate_python(given))
            if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
                return self._made(kind, value)
            if type_hints.is_named_tuple(kind):
                return self._named_tuple(kind, value)
        return self._leaf(expected, value)

    def _one_of(self, expected: Any, value: Any) -> Any:
        options = list(type_hints.alternatives(expected))
        options.sort(key=lambda option: meant(option) is str)  # it takes all text: last
        if not isinstance(value, str):
            options.sort(key=lambda option: not fits(option, value))
        problems: list[tuple[str, str]] = []
        for option in options:
            try:
                return self(option, value)
            except Unfit as error:
                if option is not types.NoneType and error.problems != [("", mismatch(option, value))]:
                    problems += error.problems
        several = len(options) - (types.NoneType in options) > 1
        raise Unfit(mismatch(expected, value) if several or not problems else problems)

    def _container(self, expected: Any, kind: type, args: tuple[Any, ...], value: Any) -> Any:
        if kind is dict:
            key, each = args or (Any, Any)
            items = self._mapping(expected, value).items()
            keys = _parts(self._key, [(f"[{name!r}]", key, name) for name, _ in items])
            values = _parts(self, [(f"[{name!r}]", each, item) for name, item in items])
            return dict(zip(keys, values, strict=True))
        if not isinstance(value, list if kind is list else (list, tuple, set, frozenset)):
            raise Unfit(mismatch(expected, value))
        if kind is tuple and args and Ellipsis not in args:
            if len(args) != len(value):
                raise Unfit(f"expected {len(args)} values for {type_name(expected)}, got {len(value)}")
            kinds: Iterable[Any] = args
        else:
            kinds = [args[0] if args else Any] * len(value)
        pairs = enumerate(zip(kinds, value, strict=True))
        parts = _parts(self, [(f"[{index}]", each, item) for index, (each, item) in pairs])
        return parts if kind is list else kind(parts)

    def _typed_dict(self, kind: Any, value: Mapping[str, Any]) -> dict[str, Any]:
        fields = of_fields(kind)
        missing = sorted(type_hints.required_keys(kind) - value.keys())
        return self._fields({name: fields.get(name, Any) for name in value}, value, kind, missing)

    def _named_tuple(self, kind: Any, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            if len(value) > len(kind._fields):
                raise Unfit(f"expected {len(kind._fields)} values for {kind.__name__}, got {len(value)}")
            value = dict(zip(kind._fields, value, strict=False))
        return self._made(kind, self._mapping(kind, value))

    def _made(self, kind: Any, value: Mapping[str, Any]) -> Any:
        """An instance of a class that takes its fields by name."""
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        known = [each for each in inspect.signature(kind).parameters.values() if each.kind in named]
        kinds = of_fields(kind)
        required = [each.name for each in known if each.default is inspect.Parameter.empty]
        missing = [name for name in required if name not in value]
        parts = self._fields({each.name: kinds.get(each.name, Any) for each in known}, value, kind, missing)
        return _tried(kind, lambda: kind(**parts))

    def _fields(
        self, kinds: Mapping[str, Any], value: Mapping[str, Any], kind: Any, missing: list[str]
    ) -> dict[str, Any]:
        problems = [(f".{name}", "is missing") for name in missing]
        unknown = f"{type_name(kind)} has no such field. Its fields: {', '.join(of_fields(kind)) or 'none'}"
        problems += [(f".{name}", unknown) for name in value if name not in kinds]
        there = [name for name in value if name in kinds]
        items = [(f".{name}", _initial(kinds[name]), value[name]) for name in there]
        return dict(zip(there, _parts(self, items, problems), strict=True))

    def _mapping(self, expected: Any, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise Unfit(mismatch(expected, value))
        return value


def _parts(
    convert: Callable[[Any, Any], Any],
    items: Iterable[tuple[str, Any, Any]],
    problems: Sequence[tuple[str, str]] = (),
) -> list[Any]:
    """What becomes of values, each given with where it is and its type; or all that is wrong with them."""
    wrong, results = list(problems), []
    for where, expected, value in items:
        try:
            results.append(convert(expected, value))
        except Unfit as error:
            wrong += [(where + inner, what) for inner, what in error.problems]
    if wrong:
        raise Unfit(wrong)
    return results


def _tried(kind: type, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        errors = getattr(error, "errors", None)  # pydantic's, which may not be loaded
        if callable(errors) and type(error).__name__ == "ValidationError":
            problems = []
            for each in errors():
                where = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in each["loc"])
                got = "" if each["type"] == "missing" else f", got {shown(each['input'])}"
                problems.append((where, each["msg"] + got))
            raise Unfit(problems) from error
        raise Unfit(f"{kind.__name__} refuses it: {type(error).__name__}: {error}") from error


def _initial(kind: Any) -> Any:
    return kind.type if isinstance(kind, dataclasses.InitVar) else kind


def _given(expected: Any, value: Any) -> Any:
    """What calls from Python may give in another form."""
    if isinstance(expected, type):
        if issubclass(expected, enum.Enum) and isinstance(value, str):
            return member(expected, value)
        if expected is datetime.date and isinstance(value, datetime.datetime):
            return value.date()
        if expected in _WRITTEN and isinstance(value, str):
            return _tried(expected, lambda: expected(value))
    raise Unfit(mismatch(expected, value))


def member(kind: type[enum.Enum], value: Any) -> enum.Enum:
    """The member of that name, or else of that value; :class:`Unfit` tells which there are where there is none."""
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    for each in kind:
        if type(each.value) is type(value) and each.value == value:
            return each
    names = ", ".join(kind.__members__)
    raise Unfit(f"{shown(value)} is no {kind.__name__}. Its members: {names}")


converted = Conversion(_given, keep=True)  # a value from Python as an annotation wants it
