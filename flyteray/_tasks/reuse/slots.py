"""The slots of a warm process: so many calls run in it at one time, the others wait in the order they came."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future


class Slots:
    """The slots of one process."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = number
        self._waiting: deque[Future[None]] = deque()
        self._change = threading.Lock()

    @property
    def taken(self) -> int:
        """The number of slots that are taken."""
        return self._number - self._free

    def take(self, patience_s: float | None) -> bool:
        """Take a slot, waiting for so long, or for ever with None; False where there is none by then."""
        taken = self._take()
        if taken is None:
            return True
        try:
            taken.result(timeout=patience_s)
        except TimeoutError:
            return self._leave(taken)
        except BaseException:  # an interrupt
            if self._leave(taken):
                self.give()
            raise
        return True

    def give(self) -> None:
        """Give a slot back: to who waits for one, if somebody does."""
        with self._change:
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._free += 1

    @contextlib.contextmanager
    def given_back(self) -> Iterator[None]:
        """Give a slot back for the time in here, which is spent waiting."""
        self.give()
        try:
            yield
        finally:
            self.take(None)

    @contextlib.asynccontextmanager
    async def given_back_async(self) -> AsyncIterator[None]:
        """Like :meth:`given_back`, for coroutines."""
        self.give()
        try:
            yield
        finally:
            taken = self._take()
            if taken is not None:
                await asyncio.shield(asyncio.wrap_future(taken))

    def _take(self) -> Future[None] | None:
        """Take a slot, or a place in the line for one."""
        with self._change:
            if self._free > 0:
                self._free -= 1
                return None
            taken: Future[None] = Future()
            self._waiting.append(taken)
            return taken

    def _leave(self, taken: Future[None]) -> bool:
        """Leave the line; True where the slot had come meanwhile."""
        with self._change:
            if taken.done():
                return True
            self._waiting.remove(taken)
            return False
