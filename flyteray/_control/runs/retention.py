"""Runs that ended long ago are freed: their records, logs, inputs, outputs and files, where nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from flyteray._actors.controller import Retention as RetentionDoor
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._plan.values import pickling
from flyteray.errors import InitializationError, RuntimeUserError
from flyteray.storage import Storage

_EVERY_S = 3600.0
_FIRST_S = 60.0  # after the start, which has enough to do

logger = logging.getLogger(__name__)


class Retention(RetentionDoor):
    """The runs of a cluster, as long as they are kept: ``days`` after their end; None: until somebody deletes them.

    ``let_go`` is told of runs whose outputs need not be held in the object store.
    """

    def __init__(
        self,
        registry: Registry,
        storage: Storage,
        days: int | None,
        let_go: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        self._let_go = let_go
        self._registry = registry
        self._storage = storage
        self._kept = None if days is None else timedelta(days=days)

    async def run(self) -> None:
        """Free runs for ever."""
        await asyncio.sleep(_FIRST_S)
        while self._kept is not None:
            try:
                await self.free()
            except Exception:
                logger.exception("Old runs could not be freed; it is tried again")
            await asyncio.sleep(_EVERY_S)

    async def free(self) -> list[str]:
        """Free the runs that are too old and not needed; returns their names."""
        if self._kept is None:
            return []
        old = await asyncio.to_thread(self._registry.retention.ended_before, now() - self._kept)
        if not old:
            return []
        needed = await asyncio.to_thread(self._registry.retention.needed, self._place)
        freed = [name for name in old if name not in needed]
        for name in freed:
            await self._free(name)
        if freed:
            logger.info("%d runs that ended more than %s ago are freed", len(freed), self._kept)
        return freed

    async def delete(self, name: str) -> None:
        """Free a run now.

        Raises:
            RunNotFoundError: there is no such run.
            RuntimeUserError: it has not ended (``RunNotDoneError``), or somebody needs it (``RunNeededError``).
        """
        info = self._registry.runs.get(name)
        if not info.phase.is_terminal:
            raise RuntimeUserError(
                "RunNotDoneError",
                f"Run {name!r} is {info.phase}: abort it first, or wait until it has ended.",
            )
        needed = await asyncio.to_thread(self._registry.retention.needed, self._place)
        if name in needed:
            raise RuntimeUserError(
                "RunNeededError",
                f"Run {name!r} is needed by {needed[name]}: delete that first, or give it another run.",
            )
        await self._free(name)

    @property
    def _place(self) -> str:
        return f"{self._storage.join('runs')}/"

    async def _free(self, name: str) -> None:
        spec = self._registry.runs.spec(name)
        with contextlib.suppress(InitializationError):  # no keeper, so nothing is held
            await self._let_go([name])
        # The record last: where this is cut off, it is done again.
        await asyncio.to_thread(self._storage.delete_folder, f"runs/{name}")
        for key in {pickling.inputs_key(spec.request), spec.inputs} - {None}:
            await asyncio.to_thread(self._storage.delete, str(key))
        self._registry.retention.forget(name)
