"""What is kept in the registry's database: asked of the cluster, or of what a local one will find there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from flyteray._client.session.session import session
from flyteray._settings import Settings

T = TypeVar("T")


@contextlib.asynccontextmanager
async def kept(there: T, here: Callable[[Settings], AbstractContextManager[T]]) -> AsyncIterator[T]:
    """Who answers what is asked: the cluster, or with none named and none running this process.

    Args:
        there: What the cluster has.
        here: Opens what a local cluster of the same settings uses as well.
    """
    if await asyncio.to_thread(session().has_cluster):
        yield there
    else:
        with here(session().settings) as opened:
            yield opened
