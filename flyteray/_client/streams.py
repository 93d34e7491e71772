"""A stream is an async generator of ours whose values are gone through by plain ``for`` as well."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Concatenate, Generic, ParamSpec, TypeVar, overload

from flyteray._client.bridge import run_blocking

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Stream(Generic[R]):
    """Values that come one by one: gone through by ``for``, which blocks, or by ``async for``."""

    def __init__(self, values: AsyncIterator[R]) -> None:
        self._values = values

    def __aiter__(self) -> AsyncIterator[R]:
        return self._values

    async def __anext__(self) -> R:
        return await anext(self._values)

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        async def following() -> list[R]:
            async for value in self._values:
                return [value]
            return []

        found = run_blocking(following())
        if not found:
            raise StopIteration
        return found[0]


class StreamVerb(Generic[S, P, R]):
    """An async generator method whose values are gone through plainly or, with ``aio`` or without, by ``async for``."""

    def __init__(self, function: Callable[Concatenate[S, P], AsyncIterator[R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[S]) -> StreamVerb[S, P, R]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> BoundStream[P, R]: ...
    def __get__(self, instance: S | None, owner: type[S]) -> StreamVerb[S, P, R] | BoundStream[P, R]:
        return self if instance is None else BoundStream(self._function.__get__(instance, owner))


class BoundStream(Generic[P, R]):
    """A :class:`StreamVerb` of an instance."""

    def __init__(self, function: Callable[P, AsyncIterator[R]]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        return Stream(self._function(*args, **kwargs))

    aio = __call__
