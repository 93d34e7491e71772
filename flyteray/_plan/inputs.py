"""What a task is called with and what it returns, checked against its annotations.

The checks are Flyte's: ``bool``, ``int``, ``float`` and ``str`` must match exactly (no int for a float),
containers are checked inside, classes by ``isinstance``. An annotation that can't be checked accepts all.
"""

from __future__ import annotations

import inspect
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from flyteray._declare.interface import MISSING
from flyteray._declare.near import did_you_mean
from flyteray._declare.task import Task
from flyteray._plan.spec import TaskPlan
from flyteray.errors import RemoteTaskUsageError, RuntimeDataValidationError

_PLAIN = (bool, int, float, str)


def bind(task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a call by name, checked. Defaults are left to the function.

    Args:
        task: The task to be called.
        args: Positional arguments; keyword-only ones may be given like this too, in order.
        kwargs: Keyword arguments.

    Raises:
        TypeError: An unknown keyword, an input given twice, or a value of another type than annotated.
        ValueError: Too many positional arguments, or required inputs are missing.
    """
    known = task.interface.inputs
    required = {name: declared.required for name, declared in known.items()}
    bound = _named(task.name, required, args, kwargs)
    for name, value in bound.items():
        declared = known[name]
        if value is declared.default:  # also ``x: int = None``, which Python lets pass
            continue
        if problem := mismatch(declared.type, value):
            raise TypeError(f"Type conversion failed for variable {name!r} of task {task.name!r}: {problem}.")
    return bound


def bind_deployed(
    plan: TaskPlan, args: Sequence[Any], kwargs: Mapping[str, Any], *, named_only: bool = False
) -> dict[str, Any]:
    """The inputs of a call of a deployed task by name. Their types are checked where its code is.

    Args:
        plan: The task to be called.
        args: Positional arguments.
        kwargs: Keyword arguments.
        named_only: Refuse positional arguments.

    Raises:
        RemoteTaskUsageError: Positional arguments where they are refused.
        TypeError: An unknown keyword, or an input given twice.
        ValueError: Too many positional arguments, or required inputs are missing.
    """
    if named_only and args:
        raise RemoteTaskUsageError(
            f"Deployed task {plan.name!r} takes its inputs by name: write {plan.inputs[0].name}=... and so on."
            if plan.inputs
            else f"Deployed task {plan.name!r} takes no inputs."
        )
    required = {declared.name: declared.default is None for declared in plan.inputs}
    return _named(plan.name, required, args, kwargs)


def check_output(task: Task[..., Any], value: Any) -> None:
    """Check what a task's function returned.

    Raises:
        RuntimeDataValidationError: It is of another type than annotated, or nothing was annotated.
    """
    interface = task.interface
    if interface.returns is MISSING:
        if value is not None:
            raise RuntimeDataValidationError(
                "o0",
                f"missing return annotation: it returned {_shown(value)}. Annotate the function with "
                f"-> {type(value).__name__}, or -> Any.",
                task.name,
            )
        return
    expected = {"o0": interface.returns}
    values = (value,)
    if typing.get_origin(interface.returns) is tuple and isinstance(value, tuple):
        expected, values = interface.outputs, value
        if len(values) != len(expected):
            counts = f"expected {len(expected)} outputs, got {len(values)}"
            raise RuntimeDataValidationError(f"o0..o{len(expected) - 1}", counts, task.name)
    for (name, kind), part in zip(expected.items(), values, strict=True):
        if problem := mismatch(kind, part):
            raise RuntimeDataValidationError(name, problem, task.name)


def mismatch(expected: Any, value: Any) -> str | None:
    """Why a value does not fit an annotation; None if it does."""
    if fits(expected, value):
        return None
    problem = f"expected {type_name(expected)}, got {_shown(value)}"
    if inspect.iscoroutine(value):
        return f"{problem} (is an await missing?)"
    return problem


def fits(expected: Any, value: Any) -> bool:
    """Whether a value fits an annotation."""
    if expected is Any:
        return True
    if expected is None or expected is types.NoneType:
        return value is None
    if expected in _PLAIN:
        return _is_plain(expected, value)
    origin = typing.get_origin(expected)
    if origin is not None:
        return _fits_generic(origin, typing.get_args(expected), value)
    if isinstance(expected, typing.NewType):
        return fits(expected.__supertype__, value)
    if isinstance(expected, type) and not _is_structural(expected):
        return isinstance(value, expected)
    return not typing.is_typeddict(expected) or isinstance(value, dict)


def _is_plain(expected: type, value: Any) -> bool:
    # Subclasses pass (NumPy's float64 is a float), but True is no number and an int no float.
    return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))


def _fits_generic(origin: Any, args: tuple[Any, ...], value: Any) -> bool:
    if origin in (list, set, frozenset):
        return isinstance(value, origin) and _all_fit(args[0], cast("Iterable[Any]", value))
    if origin is dict:
        return isinstance(value, dict) and _all_fit(args[0], value) and _all_fit(args[1], value.values())
    if origin in (typing.Union, types.UnionType):
        return any(fits(option, value) for option in args)
    if origin is typing.Annotated:
        return fits(args[0], value)
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in args)
    if origin is tuple:
        return _fits_tuple(args, value)
    return not isinstance(origin, type) or _is_structural(origin) or isinstance(value, origin)


def _fits_tuple(args: tuple[Any, ...], value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    if len(args) == 2 and args[1] is Ellipsis:
        return _all_fit(args[0], value)
    return len(args) == len(value) and all(map(fits, args, value))


def _all_fit(expected: Any, values: Iterable[Any]) -> bool:
    if expected is Any:
        return True
    if expected in _PLAIN:  # without a call for each of a million numbers
        return all(type(value) is expected or _is_plain(expected, value) for value in values)
    return all(fits(expected, value) for value in values)


def _is_structural(kind: type) -> bool:
    return bool(getattr(kind, "_is_protocol", False)) or typing.is_typeddict(kind)


def _named(
    task: str, known: Mapping[str, bool], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments by name; ``known`` says which inputs there are, in order, and which of them are required."""
    names = list(known)
    if len(args) > len(names):
        raise ValueError(
            f"Task {task!r} takes {len(names)} inputs ({', '.join(names) or 'none'}), got {len(args)} "
            "positional arguments."
        )
    bound = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in known:
            raise TypeError(
                f"Task {task!r} has no input {name!r}. Its inputs: {', '.join(names) or 'none'}."
                f"{did_you_mean(name, names)}"
            )
        if name in bound:
            raise TypeError(f"Task {task!r} got input {name!r} twice: by position and by name.")
        bound[name] = value
    if missing := [name for name, required in known.items() if required and name not in bound]:
        raise ValueError(f"Missing required inputs: {', '.join(missing)} (of task {task!r}).")
    return bound


def type_name(expected: Any) -> str:
    """An annotation in words; ``Any`` where there is none."""
    if expected is MISSING:
        return "Any"
    if expected is types.NoneType:
        return "None"
    if isinstance(expected, type) and typing.get_origin(expected) is None:
        return expected.__name__
    return str(expected).replace("typing.", "")


def _shown(value: Any) -> str:
    shown = reprlib.Repr()
    shown.maxother = shown.maxstring = 60
    return f"{type(value).__name__}: {shown.repr(value)}"
