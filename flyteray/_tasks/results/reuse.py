"""A result that is kept takes the place of an action: it is looked for by who calls, at the cost of no worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flyteray._actors.controller import CLAIM_S, controller
from flyteray._actors.questions import ask
from flyteray._declare.tasks.task import Task
from flyteray._plan.cache.results import Found, ResultCache
from flyteray._plan.values.outputs import output_key
from flyteray._tasks.call import Call
from flyteray.errors import BaseRuntimeError
from flyteray.storage import open_storage

logger = logging.getLogger(__name__)


class Reuse:
    """The results that are kept in the storage at ``root``, for the actions of a worker."""

    def __init__(self, root: str) -> None:
        self._cache = ResultCache(open_storage(root))

    def find(self, call: Call) -> Found | None:
        """The result of an action, where it is there."""
        cached = call.cached_call
        return None if cached is None else self._cache.find(cached)

    async def find_async(self, call: Call) -> Found | None:
        """As :meth:`find`, beside the event loop."""
        return await asyncio.to_thread(self.find, call) if call.cached else None

    @contextlib.contextmanager
    def alone(self, call: Call) -> Iterator[Found | None]:
        """Nobody makes an equal call inside the block, at whose beginning the result of one may be there."""
        key, leases = _key(call), controller().leases
        while not ask(leases.claim(key, call.run, call.action, call.parent, CLAIM_S)):
            pass
        try:
            yield self.find(call)
        finally:
            ask(leases.release(key, call.run, call.action))

    @contextlib.asynccontextmanager
    async def alone_async(self, call: Call) -> AsyncIterator[Found | None]:
        """As :meth:`alone`."""
        key, leases = _key(call), controller().leases
        while not await leases.claim(key, call.run, call.action, call.parent, CLAIM_S):
            pass
        try:
            yield await self.find_async(call)
        finally:
            await leases.release(key, call.run, call.action)

    def take(self, call: Call, found: Found) -> int:
        """Have the outputs that were found as those of an action too, as if it had made them; their size in bytes."""
        try:
            size = self._cache.hand_on(found.entry, output_key(call.run, call.action))
        except (OSError, BaseRuntimeError) as error:
            logger.warning("The reused result of task %r is not kept with its run: %s", call.task, error)
            size = None
        return found.entry.nbytes if size is None else size

    def keep(self, call: Call, task: Task[..., Any], outputs: tuple[Any, ...]) -> None:
        """Keep the outputs of an action, which are in storage already, for equal calls where its task asks for it."""
        if (cached := call.cached_call) is not None:
            written = output_key(call.run, call.action)
            self._cache.keep(cached, task, outputs, call.run, call.action, written)


def _key(call: Call) -> str:
    assert call.cached_call is not None, "only a call whose result is kept is made alone"
    return call.cached_call.key
