"""Annotations become types; names in strings are looked up where their function or class was written."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import typing_extensions

_OF_KEYS = (typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly)
_NAME = re.compile(r"[^\W\d]\w*")


class Found(NamedTuple):
    """The type that an annotation means; ``problem`` says what of it can't be found, which is ``Any`` instead."""

    type: Any
    problem: str | None = None


def written(func: Callable[..., Any]) -> Any:
    """The function whose signature and annotations a callable shows: what is inside wrappers, partials and methods."""
    inner: Any = func
    while True:
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif inspect.ismethod(inner):
            inner = inner.__func__
        elif hasattr(inner, "__wrapped__") and not hasattr(inner, "__signature__"):
            inner = inner.__wrapped__
        else:
            return inner


def of_function(func: Callable[..., Any], annotation: Any, around: Mapping[str, Any]) -> Found:
    """The type of an annotation of a function; ``around``: see :func:`names_around`."""
    inner = written(func)
    parameters = {parameter.__name__: parameter for parameter in getattr(inner, "__type_params__", ())}
    if inspect.isfunction(inner):
        parameters |= _enclosed(inner)
    return _resolved(annotation, getattr(inner, "__globals__", {}), {**around, **parameters})


@functools.lru_cache(maxsize=1024)
def of_fields(cls: type) -> Mapping[str, Any]:
    """The types of the fields that a class and its bases annotate; ``Any`` for what can't be found."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        names = vars(sys.modules.get(base.__module__, typing))
        for name, annotation in inspect.get_annotations(base).items():
            found[name] = _resolved(annotation, names, dict(vars(base))).type
    return found


def names_around(func: Callable[..., Any], frame: FrameType | None) -> dict[str, Any]:
    """The local names that a function's annotations mention, of the functions and classes around ``frame``."""
    inner = written(func)
    mentioned = {
        name
        for annotation in getattr(inner, "__annotations__", {}).values()
        for name in _NAME.findall(str(annotation))
    }
    found: dict[str, Any] = {}
    code: CodeType | None = getattr(inner, "__code__", None)
    while code is not None and frame is not None:
        if code in frame.f_code.co_consts:
            code = frame.f_code
            if frame.f_locals is not frame.f_globals:
                outer = {name: frame.f_locals[name] for name in mentioned & frame.f_locals.keys()}
                found = {**outer, **found}
        frame = frame.f_back
    return found


def _enclosed(func: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # of a function that calls itself: not there yet
            found[name] = cell.cell_contents
    return found


def _resolved(annotation: Any, names: Mapping[str, Any], more: Mapping[str, Any]) -> Found:
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    scope, missing = dict(more), list[str]()
    while True:
        try:
            hint = typing.get_type_hints(holder, dict(names), scope, include_extras=True)["it"]
        except NameError as error:
            if error.name is None or error.name in missing:
                return Found(Any, str(error))
            missing.append(error.name)
            scope[error.name] = Any  # list[Unknown] is a list all the same
        except Exception as error:  # noqa: BLE001  # annotations are evaluated: anything may go wrong in them
            return Found(Any, _not_found(missing) or f"{type(error).__name__}: {error}")
        else:
            if typing.get_origin(hint) in _OF_KEYS:
                hint = typing.get_args(hint)[0]
            return Found(types.NoneType if hint is None else hint, _not_found(missing))


def _not_found(names: list[str]) -> str | None:
    return f"{', '.join(map(repr, names))} can't be found" if names else None
