"""A decorator of another module with annotations as strings, for the tests of how annotations are read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Hidden:
    """Known here only."""


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Hidden, **kwargs: Hidden) -> Hidden:
        return function(*args, **kwargs)

    return wrapper


def repeated(times: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return [await function(*args, **kwargs) for _ in range(times)][-1]

        return wrapper

    return decorate
