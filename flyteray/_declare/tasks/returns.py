"""A function's source tells whether it returns a value, before it is called."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Literal

Returned = Literal["nothing", "maybe", "value"]


def returned(func: Callable[..., Any]) -> Returned:
    """The return of a plain function: nothing, another call's result (which may be None), or a value of its own."""
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        return "value"
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(func))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # no source, or a lambda in the middle of something
        return "maybe" if func.__name__ == "<lambda>" else "nothing"
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return "maybe"
    kinds = {_kind(value) for value in _values(tree)}
    return "value" if "value" in kinds else "maybe" if "maybe" in kinds else "nothing"


def _values(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return) and child.value is not None:
            yield child.value
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _values(child)


def _kind(value: ast.expr) -> Returned:
    if isinstance(value, ast.Constant) and value.value is None:
        return "nothing"
    return "maybe" if isinstance(value, (ast.Call, ast.Await)) else "value"
