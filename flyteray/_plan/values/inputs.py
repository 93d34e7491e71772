"""Inputs and outputs of a task are checked against its annotations, and converted by them."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from flyteray._declare.near import did_you_mean
from flyteray._declare.tasks.interface import MISSING, Input, tuple_parts
from flyteray._declare.tasks.task import Task
from flyteray._declare.transformer import TypeTransformerFailedError
from flyteray._plan.spec import TaskPlan
from flyteray._plan.values.border import Border, arrived, travelling
from flyteray._plan.values.conversion import Unfit
from flyteray._plan.values.parser import FromJson, Text, from_json, read
from flyteray._plan.values.type_hints import shown
from flyteray.errors import RemoteTaskUsageError, RuntimeDataValidationError


def bind(
    task: Task[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    partial: bool = False,
    *,
    here: bool = False,
) -> dict[str, Any]:
    """The inputs of a call by name, as the annotations want them. Defaults are left to the function.

    Keyword-only arguments may be given in order like positional ones. Of a ``partial`` call, which somebody completes
    later, required inputs may be missing. ``here``: the function runs in this process; otherwise some of them may be
    :class:`Carried`.

    Raises:
        TypeError: An unknown keyword, an input given twice, or a value of another type than annotated.
        ValueError: Too many positional arguments, or required inputs are missing.
        RuntimeDataValidationError: The function returns a value and nothing was annotated: said before it runs.
    """
    known = task.interface.inputs
    if task.returned == "value":
        raise _unannotated(task, "it returns a value", "its type")
    required = {name: declared.required and not partial for name, declared in known.items()}
    bound = _named(task.name, required, args, kwargs)
    border = arrived if here else travelling
    return {name: _fitted(task.name, name, known[name], value, border) for name, value in bound.items()}


def _fitted(task: str, name: str, declared: Input, value: Any, border: Border) -> Any:
    if value is declared.default:  # also ``x: int = None``, which Python lets pass
        return value
    try:
        meant = value
        if isinstance(value, Text):
            meant = read(declared.type, value, declared.default)
        elif isinstance(value, FromJson):
            meant = from_json(declared.type, value.value)
        return border(declared.type, meant)
    except Unfit as error:
        given = f" (given as {str(value)!r})" if isinstance(value, Text) else ""
        raise TypeTransformerFailedError(
            f"Type conversion failed for variable {name!r} of task {task!r}: {error.told(name)}{given}."
        ) from error.__cause__


def bind_deployed(
    plan: TaskPlan,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    named_only: bool = False,
    partial: bool = False,
) -> dict[str, Any]:
    """The inputs of a call of a deployed task by name. Their types are checked where its code is.

    Fails as :func:`bind` does, and with RemoteTaskUsageError for positional arguments that ``named_only`` refuses.
    """
    if named_only and args:
        by_name = (
            f"its inputs by name: write {plan.inputs[0].name}=... and so on" if plan.inputs else "no inputs"
        )
        raise RemoteTaskUsageError(f"Deployed task {plan.name!r} takes {by_name}.")
    required = {declared.name: declared.default is None and not partial for declared in plan.inputs}
    return _named(plan.name, required, args, kwargs)


def check_output(task: Task[..., Any], value: Any, *, here: bool = False) -> Any:
    """What a task's function returned, as the annotation wants it; ``here``: it stays in this process.

    RuntimeDataValidationError where it is of another type than annotated, or nothing was annotated.
    """
    returns = task.interface.returns
    border = arrived if here else travelling
    if returns is MISSING:
        if value is not None:
            raise _unannotated(task, f"it returned {shown(value)}", type(value).__name__)
        return None
    parts = tuple_parts(returns) if typing.get_origin(returns) is tuple else None
    if parts is None or not isinstance(value, tuple):
        return _returned(task, "o0", returns, value, border)
    if len(value) != len(parts):
        counts = f"expected {len(parts)} outputs, got {len(value)}"
        raise RuntimeDataValidationError(f"o0..o{len(parts) - 1}", counts, task.name)
    outputs = zip(task.interface.outputs.items(), value, strict=True)
    return tuple(_returned(task, name, kind, part, border) for (name, kind), part in outputs)


def _returned(task: Task[..., Any], name: str, expected: Any, value: Any, border: Border) -> Any:
    try:
        return border(expected, value)
    except Unfit as error:
        raise RuntimeDataValidationError(name, error.told(name), task.name) from error.__cause__


def _unannotated(task: Task[..., Any], what: str, kind: str) -> RuntimeDataValidationError:
    problem = f"missing return annotation: {what}. Annotate the function with -> {kind}, or -> Any."
    return RuntimeDataValidationError("o0", problem, task.name)


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
