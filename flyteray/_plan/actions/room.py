"""A room has the places for the children of one action, where its run has a limit on actions at one time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol


class Room(Protocol):
    """The places for the children of one action."""

    def place(self, child: str) -> AbstractContextManager[None]:
        """Hold a place for a child in a ``with`` block."""

    def aplace(self, child: str) -> AbstractAsyncContextManager[None]:
        """As :meth:`place`, for ``async with``; one that is cancelled waits for nothing more."""


class EndlessRoom:
    """The room of a run without a limit."""

    def place(self, child: str) -> AbstractContextManager[None]:
        """Nothing to hold."""
        return contextlib.nullcontext()

    def aplace(self, child: str) -> AbstractAsyncContextManager[None]:
        """Nothing to hold."""
        return contextlib.nullcontext()


class LimitedRoom(ABC):
    """A room whose places have to be asked for; the action lends its own to its children while it has any."""

    def __init__(self, action: str) -> None:
        self.action = action
        self._change = threading.Lock()
        self._waiting: dict[str, Future[None]] = {}
        self._children: set[str] = set()

    @abstractmethod
    def ask(self, child: str) -> None:
        """Ask for a place for a child; :meth:`granted` is called when there is one."""

    @abstractmethod
    def end(self, child: str, last: bool) -> None:
        """Give the place of a child back; after the ``last`` one :meth:`granted` is called with the action itself."""

    def granted(self, actions: Iterable[str]) -> None:
        """Let those go on that have a place now."""
        with self._change:
            found = [self._waiting.pop(action, None) for action in actions]
        for future in found:
            _settle(future)

    def failed(self, error: Exception) -> None:
        """Let all that wait for a place fail: there will be none."""
        with self._change:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    @property
    def is_waited_in(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    @contextlib.contextmanager
    def place(self, child: str) -> Iterator[None]:
        """Hold a place for a child: wait for it before, and afterwards for the action's own."""
        try:
            self._take(child).result()
            yield
        except Exception:
            self._give(child).result()
            raise
        except BaseException:  # an interrupt, which waits for nothing more
            self._give(child)
            raise
        else:
            self._give(child).result()

    @contextlib.asynccontextmanager
    async def aplace(self, child: str) -> AsyncIterator[None]:
        """As :meth:`place`, for async code; one that is cancelled waits for nothing more."""
        try:
            await asyncio.wrap_future(self._take(child))
            yield
        except Exception:
            await asyncio.wrap_future(self._give(child))
            raise
        except BaseException:
            self._give(child)
            raise
        else:
            await asyncio.wrap_future(self._give(child))

    def _take(self, child: str) -> Future[None]:
        with self._change:
            self._children.add(child)
            own = self._waiting.pop(self.action, None)
            future = self._waiting[child] = Future()
        _settle(own)  # its place is lent again: what waited for it goes on meanwhile
        self.ask(child)
        return future

    def _give(self, child: str) -> Future[None]:
        with self._change:
            self._children.discard(child)
            self._waiting.pop(child, None)
            future: Future[None] = Future()
            last = not self._children
            if last:
                future = self._waiting.setdefault(self.action, future)
            else:
                future.set_result(None)
        self.end(child, last)
        return future


def _settle(future: Future[None] | None) -> None:
    if future is not None and not future.done() and future.set_running_or_notify_cancel():
        future.set_result(None)
