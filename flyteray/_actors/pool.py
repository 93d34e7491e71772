"""The interface of a pool, which looks after the warm processes of an environment."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, cast

from flyteray._actors.questions import Stub


class Pool(Protocol):
    """A pool: it starts and ends the replicas that callers then call themselves."""

    def replicas(self, found_busy: bool, lost: list[str]) -> Awaitable[list[str]]:
        """The names of its replicas, as soon as there is one.

        ``found_busy`` tells that all were that the caller knew, ``lost`` are those that it could not reach any more.
        """


def pool(name: str) -> Pool:
    """The pool of that name, on the connected cluster."""
    return cast(Pool, Stub(name))
