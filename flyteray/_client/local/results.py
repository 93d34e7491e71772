"""The results that a local run reuses and keeps are those that a cluster with the same storage has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from flyteray import _private
from flyteray._declare.facts import Owner
from flyteray._declare.tasks.task import Task
from flyteray._machine.file_lock import FileLock
from flyteray._plan.cache.call import cache_spec, cached_call, contents
from flyteray._plan.cache.results import Found, ResultCache
from flyteray._plan.spec import CachedCall, Caching
from flyteray._plan.values.outputs import as_outputs
from flyteray._settings import Settings
from flyteray.storage import open_storage

_LOOK_S = 0.05  # how often a lock is looked at that another thread or process holds


class LocalResults:
    """The results for the tasks of one local run."""

    def __init__(self, settings: Settings, run: str, caching: Caching, owner: Owner) -> None:
        self.run = run
        self.cache = ResultCache(open_storage(settings.storage))
        self.locks = settings.home / "local" / "locks"
        self._caching = caching
        self._owner = owner

    def reuse(self, task: Task[..., Any], arguments: dict[str, Any]) -> Reuse:
        """The reuse of the result of one call; errors as of :func:`contents`."""
        spec = cache_spec(task)
        named = contents(task, arguments, spec, self._caching)
        if spec is None or named is None:
            return Reuse(self, task, None, arguments)
        call = cached_call(task, named, spec, self._caching, self._owner)
        return Reuse(self, task, call, {**arguments, **named})


class Reuse:
    """One call whose result is looked for, and kept once it is there.

    ``named`` are its inputs, with names in place of values where these are known by now.
    """

    def __init__(
        self,
        results: LocalResults,
        task: Task[..., Any],
        call: CachedCall | None,
        named: Mapping[str, object],
    ) -> None:
        self.named = named
        self._results = results
        self._task = task
        self._call = call

    def find(self) -> Found | None:
        """The result, where it is there."""
        return None if self._call is None else self._results.cache.find(self._call)

    async def find_async(self) -> Found | None:
        """As :meth:`find`, beside the event loop."""
        return None if self._call is None else await asyncio.to_thread(self.find)

    @property
    def is_serial(self) -> bool:
        """Whether of equal calls one is to be made at a time."""
        return self._call is not None and self._call.serialize

    @contextlib.contextmanager
    def alone(self) -> Iterator[Found | None]:
        """Nobody makes an equal call inside the block, at whose beginning the result of one may be there."""
        while not self._taken(lock := self._lock()):
            lock.close()
        with _released(lock):
            yield self.find()

    @contextlib.asynccontextmanager
    async def alone_async(self) -> AsyncIterator[Found | None]:
        """As :meth:`alone`."""
        while not ((lock := self._lock()).try_take() and lock.is_current()):
            lock.close()
            await asyncio.sleep(_LOOK_S)
        with _released(lock):
            yield await self.find_async()

    def keep(self, action: str, value: Any) -> None:
        """Keep the value that an action has returned; errors as of :meth:`ResultCache.keep`."""
        if self._call is not None:
            outputs = as_outputs(self._task, value)
            self._results.cache.keep(self._call, self._task, outputs, self._results.run, action)

    def _lock(self) -> FileLock:
        assert self._call is not None
        return FileLock(_private.folder(self._results.locks) / self._call.key)

    def _taken(self, lock: FileLock) -> bool:
        """Wait for a lock; False where whoever had it has removed its file meanwhile."""
        lock.take()
        return lock.is_current()


@contextlib.contextmanager
def _released(lock: FileLock) -> Iterator[None]:
    """Give a lock up in the end, and remove its file: there is one for each call."""
    with lock:
        try:
            yield
        finally:
            lock.path.unlink(missing_ok=True)
