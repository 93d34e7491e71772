"""A stand-in is a handle that a task can be given in place of the value that it stands for."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class StandIn(ABC):
    """A handle that can be an input, alone or in a list, tuple or dict: the task is given its value."""

    @abstractmethod
    def take(self) -> Any:
        """The value; blocks, so it is not for a thread whose loop others wait for."""


_MAY_BE = (StandIn, list, tuple, dict)


def taken(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a call with values in place of stand-ins; errors are those of :meth:`StandIn.take`."""
    if not _has_some(args, kwargs):
        return args, kwargs
    return tuple(map(_taken, args)), {name: _taken(value) for name, value in kwargs.items()}


async def taken_async(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """As :func:`taken`, without blocking."""
    return await asyncio.to_thread(taken, args, kwargs) if _has_some(args, kwargs) else (args, kwargs)


def _has_some(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return any(
        isinstance(value, StandIn) or any(_in(value))
        for value in (*args, *kwargs.values())
        if isinstance(value, _MAY_BE)
    )


def _in(value: Any) -> Iterator[bool]:
    """Of each kind of value in a list, tuple or dict whether it is a stand-in."""
    if isinstance(value, list) or type(value) is tuple:
        yield from (issubclass(kind, StandIn) for kind in set(map(type, value)))
    elif type(value) is dict:
        yield from _in(list(value.values()))


def _taken(value: Any) -> Any:
    if isinstance(value, StandIn):
        return value.take()
    if not any(_in(value)):
        return value
    if type(value) is dict:
        return {key: _taken(each) for key, each in value.items()}
    return tuple(map(_taken, value)) if isinstance(value, tuple) else list(map(_taken, value))
