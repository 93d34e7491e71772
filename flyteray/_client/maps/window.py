"""The window of a map holds those of its calls that are under way, or whose results nobody has taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, Generic, NamedTuple, TypeVar

from flyteray._plan import failure

R = TypeVar("R")


class Outcome(NamedTuple, Generic[R]):
    """The result of a call, or the exception that it raised."""

    value: R | None = None
    error: Exception | None = None


class Window(Generic[R]):
    """Calls by the order of their inputs, at most ``at_once`` of them under way.

    Inputs wait here ahead of their calls, and results until those before them are there: of both together there are
    never more than three times ``at_once``, however many inputs come in the end.
    """

    def __init__(
        self, call: Callable[[tuple[Any, ...]], Coroutine[Any, Any, R]], at_once: int, context: Context
    ) -> None:
        self._call = call
        self._at_once = at_once
        self._context = context
        self._inputs: deque[tuple[Any, ...]] = deque()
        self._held: deque[asyncio.Task[Outcome[R]]] = deque()
        self._running = 0
        self._news: asyncio.Future[None] | None = None

    @property
    def room(self) -> int:
        """How many more inputs may come."""
        return self._at_once - len(self._inputs)

    @property
    def is_empty(self) -> bool:
        """Whether no call goes on and all results were taken."""
        return not (self._held or self._inputs)

    async def step(self, inputs: Iterable[tuple[Any, ...]], more: bool) -> list[Outcome[R]]:
        """Take inputs, and the results that come next as soon as there is one.

        Nothing is given where it is time for further inputs, if there are ``more``, or all was given.
        """
        self._inputs.extend(inputs)
        self._begin()
        while not self.is_empty and not self._held[0].done():
            if more and len(self._inputs) <= self._at_once // 2:
                return []
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        given = []
        while self._held and self._held[0].done():
            given.append(self._held.popleft().result())
        self._begin()
        return given

    async def cancel(self) -> None:
        """Cancel the calls that go on, and wait until they have ended."""
        self._inputs.clear()
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)

    def _begin(self) -> None:
        while self._inputs and self._running < self._at_once and len(self._held) < 2 * self._at_once:
            self._running += 1
            task = self._context.run(asyncio.ensure_future, self._outcome(self._inputs.popleft()))
            task.add_done_callback(self._ended)
            self._held.append(task)

    async def _outcome(self, inputs: tuple[Any, ...]) -> Outcome[R]:
        try:
            return Outcome(await self._call(inputs))
        except Exception as error:  # noqa: BLE001  # a result of this call, as any other
            return Outcome(error=error)
        except SystemExit as error:  # it would end the thread of the loop
            return Outcome(error=failure.as_flyteray(error))

    def _ended(self, task: asyncio.Task[Outcome[R]]) -> None:
        self._running -= 1
        self._begin()
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
