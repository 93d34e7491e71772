"""Apps that are active for the length of a block."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from flyteray._client.bridge import run_blocking

E = TypeVar("E", bound="Ephemeral")


class Ephemeral(ABC):
    """What a handle can do in a ``with`` block."""

    @abstractmethod
    async def _activate(self, wait: bool = False) -> Any:
        """Start the app."""

    @abstractmethod
    async def _deactivate(self, wait: bool = False) -> Any:
        """Stop the app."""

    @contextlib.asynccontextmanager
    async def ephemeral_ctx(self: E) -> AsyncIterator[E]:
        """Active inside ``async with``, stopped after it, also when the block raises."""
        await self._activate(wait=True)
        try:
            yield self
        finally:
            await self._deactivate(wait=True)

    @contextlib.contextmanager
    def ephemeral_ctx_sync(self: E) -> Iterator[E]:
        """Active inside ``with``, stopped after it, also when the block raises."""
        run_blocking(self._activate(wait=True))
        try:
            yield self
        finally:
            run_blocking(self._deactivate(wait=True))
