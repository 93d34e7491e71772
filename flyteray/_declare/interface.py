"""What a task takes and returns, read from the signature of its function."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

MISSING: Final = inspect.Parameter.empty  # no annotation, or no default


@dataclass(frozen=True)
class Input:
    """One input: its type (``Any`` without an annotation), its default (``MISSING`` for a required one)."""

    type: Any
    default: Any = MISSING

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is MISSING


@dataclass(frozen=True)
class Interface:
    """Inputs by name in the signature's order, and the type returned (``MISSING`` without an annotation)."""

    inputs: Mapping[str, Input]
    returns: Any

    @property
    def outputs(self) -> dict[str, Any]:
        """Types by name: ``o0``, and ``o1`` ... for a tuple of several."""
        parts = tuple_parts(self.returns) or (self.returns,)
        return {f"o{index}": part for index, part in enumerate(parts)}


def tuple_parts(annotation: Any) -> tuple[Any, ...] | None:
    """The types inside ``tuple[A, B]`` or a NamedTuple of several fields; None for anything else."""
    parts: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is tuple:
        parts = typing.get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = typing.get_type_hints(annotation)
        parts = tuple(hints.get(name, Any) for name in annotation._fields)
    return parts if len(parts) > 1 else None


def check_signature(func: Callable[..., Any]) -> None:
    """Refuse what can't be a task's signature.

    Raises:
        ValueError: Variable or positional-only arguments.
    """
    kinds = {parameter.kind for parameter in inspect.signature(func).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise ValueError(
            f"Function {func.__name__} cannot have variable positional or keyword arguments. "
            "Name each input, or take a list or dict."
        )
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        raise ValueError(
            f"Function {func.__name__} cannot have positional-only arguments: inputs have names."
        )


def describe(func: Callable[..., Any]) -> Interface:
    """The interface of a function.

    An input whose annotation names something that can't be found is taken as ``Any``.

    Raises:
        NameError: The return annotation names something that can't be found (yet).
        TypeError: The return annotation is a tuple of one element or of no fixed length.
    """
    signature = inspect.signature(func)
    inputs = {}
    for name, parameter in signature.parameters.items():
        try:
            hint = Any if parameter.annotation is MISSING else _resolve(func, parameter.annotation)
        except NameError:
            hint = Any
        inputs[name] = Input(hint, parameter.default)
    returns = signature.return_annotation
    if returns is not MISSING:
        returns = _resolve(func, returns)
        _check_returns(func, returns)
    return Interface(MappingProxyType(inputs), returns)


def _resolve(func: Callable[..., Any], annotation: Any) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    enclosing = inspect.getclosurevars(func).nonlocals if inspect.isfunction(func) else {}
    return typing.get_type_hints(holder, func.__globals__, dict(enclosing))["it"]


def _check_returns(func: Callable[..., Any], returns: Any) -> None:
    name = getattr(func, "__name__", repr(func))
    if isinstance(returns, tuple):
        raise TypeError(f"Function {name} is annotated to return {returns!r}: write tuple[A, B].")
    if typing.get_origin(returns) is not tuple:
        return
    parts = typing.get_args(returns)
    if Ellipsis in parts:
        raise TypeError(f"Function {name} returns {returns!r} of no fixed length: return a list instead.")
    if len(parts) < 2:
        raise TypeError(
            f"Function {name} returns {returns!r}, a tuple of fewer than two: return the element itself."
        )
