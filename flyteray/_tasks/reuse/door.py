"""The doors of a pool and of its warm processes: what a pool is asked, and the words beside the calls of those."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, Protocol, cast

from ray.exceptions import OutOfMemoryError, RayActorError

from flyteray._actors.questions import Stub
from flyteray._tasks.call import Call

LOST = (RayActorError, OutOfMemoryError)  # what Ray raises for a process that is no more
AT_ONCE, LATER = b"0", b"1"  # before a packed call: whether it may wait there for a slot


class PoolDoor(Protocol):
    """The interface of a pool: it starts and ends the replicas that callers then call themselves."""

    def replicas(self, found_busy: bool, lost: list[str]) -> Awaitable[list[str]]:
        """The names of its replicas, as soon as there is one.

        ``found_busy`` tells that all were that the caller knew, ``lost`` are those that it could not reach any more.
        """


def pool(name: str) -> PoolDoor:
    """The pool of that name, on the connected cluster."""
    return cast(PoolDoor, Stub(name))


class Busy(NamedTuple):
    """The answer in place of a value: the call was not begun."""


def key_of(call: Call) -> str:
    """The name of an attempt."""
    return f"{call.run}/{call.action}/{call.attempt}"
