"""Verbs that start, change or end something: not for code that is only being loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from flyteray._client.bridge import calling_thread
from flyteray._declare.loading import loads

P = ParamSpec("P")
R = TypeVar("R")


def acts(
    what: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """A decorator of verbs that raise ModuleLoadError where code is only being loaded; ``what`` is the verb's name."""

    def decorated(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @functools.wraps(function)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            loads().refuse(what, calling_thread())
            return await function(*args, **kwargs)

        return checked

    return decorated
