"""An interface is a task's inputs and outputs, read from the signature of its function."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from flyteray._declare.tasks import hints, json_schema

MISSING: Final = inspect.Parameter.empty  # no annotation, or no default


class Input(NamedTuple):
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

    @functools.cached_property
    def outputs(self) -> Mapping[str, Any]:
        """Types by name: ``o0``, and ``o1`` ... for a tuple of several; none where only None is returned."""
        if self.returns in (MISSING, None, type(None)):
            return MappingProxyType({})
        parts = tuple_parts(self.returns) or (self.returns,)
        return MappingProxyType({f"o{index}": part for index, part in enumerate(parts)})

    @property
    def extras(self) -> dict[str, tuple[Any, ...]]:
        """What inputs that are ``Annotated`` have beside their type, by name."""
        return {
            name: declared.type.__metadata__
            for name, declared in self.inputs.items()
            if typing.get_origin(declared.type) is typing.Annotated
        }

    @property
    def json_schema(self) -> dict[str, Any]:
        """The inputs as one JSON object, in the words of JSON Schema."""
        return {
            "type": "object",
            "properties": {
                name: json_schema.of_type(declared.type) for name, declared in self.inputs.items()
            },
            "required": self.required_inputs(),
        }

    @classmethod
    def from_callable(cls, func: Callable[..., Any]) -> Interface:
        """The interface of a function; annotations that can't be found are ``Any``."""
        return describe(func, {}).interface

    def required_inputs(self) -> list[str]:
        """The names of the inputs without a default."""
        return [name for name, declared in self.inputs.items() if declared.required]

    def num_required_inputs(self) -> int:
        """The number of inputs without a default."""
        return len(self.required_inputs())

    def has_outputs(self) -> bool:
        """Whether it returns anything but None."""
        return bool(self.outputs)

    def get_input_types(self) -> dict[str, Any]:
        """The types of the inputs, by name."""
        return {name: declared.type for name, declared in self.inputs.items()}


def tuple_parts(annotation: Any) -> tuple[Any, ...] | None:
    """The types inside ``tuple[A, B]`` or a NamedTuple of several fields; None for anything else."""
    parts: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is tuple:
        parts = typing.get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        fields = hints.of_fields(annotation)
        parts = tuple(fields.get(name, Any) for name in annotation._fields)
    return parts if len(parts) > 1 else None


def check_signature(func: Callable[..., Any]) -> None:
    """Refuse variable and positional-only arguments, and methods (ValueError)."""
    parameters = inspect.signature(func).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    name = hints.written(func).__name__
    first = next(iter(parameters.values()), None)
    if first is not None and first.name in ("self", "cls") and first.annotation is first.empty:
        raise ValueError(
            f"Function {name} takes {first.name!r}, and a task is no method: decorate a function, and give it what it "
            "needs of the object as an input."
        )
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise ValueError(
            f"Function {name} cannot have variable positional or keyword arguments. "
            "Name each input, or take a list or dict."
        )
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        raise ValueError(f"Function {name} cannot have positional-only arguments: inputs have names.")


class Description(NamedTuple):
    """The interface of a function, and by input (or ``return``) what in its annotation can't be found."""

    interface: Interface
    problems: dict[str, str]


def describe(func: Callable[..., Any], around: Mapping[str, Any]) -> Description:
    """The inputs and outputs of a function, or of the one that it wraps; what can't be found is ``Any``.

    ``around`` holds names of the functions and classes that it was defined in. TypeError: it is annotated to return a
    tuple of one element or of no fixed length.
    """
    signature = inspect.signature(func)
    problems: dict[str, str] = {}

    def resolve(name: str, annotation: Any) -> Any:
        found = hints.of_function(func, annotation, around)
        if found.problem is not None:
            shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            problems[name] = f"{shown}: {found.problem}"
        return found.type

    inputs = {
        name: Input(
            Any if parameter.annotation is MISSING else resolve(name, parameter.annotation), parameter.default
        )
        for name, parameter in signature.parameters.items()
    }
    returns = signature.return_annotation
    if returns is not MISSING:
        returns = resolve("return", returns)
        if isinstance(returns, tuple) and len(returns) > 1:
            returns = tuple[returns]  # type: ignore[valid-type] # (A, B), as Flyte lets it be written
        _check_returns(func, returns)
    return Description(Interface(MappingProxyType(inputs), returns), problems)


def _check_returns(func: Callable[..., Any], returns: Any) -> None:
    name = hints.written(func).__name__
    if isinstance(returns, tuple):
        raise TypeError(f"Function {name} is annotated to return {returns!r}: write tuple[A, B].")
    if typing.get_origin(returns) is not tuple or returns is typing.Tuple:  # noqa: UP006 # users write it
        return
    parts = typing.get_args(returns)
    if Ellipsis in parts:
        raise TypeError(f"Function {name} returns {returns!r} of no fixed length: return a list instead.")
    if len(parts) < 2:
        raise TypeError(
            f"Function {name} returns {returns!r}, a tuple of fewer than two: return the element itself."
        )
