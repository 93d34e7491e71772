"""A question to an actor: written as a call of its interface, sent when it is awaited, blocked for, or sent off.

    info = await controller().runs.get(name)
    info = answer(controller().runs.get(name))

No method is named by a string: a stub takes the place of the object, and the type checker knows the interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ray

T = TypeVar("T")


class Asked(Awaitable[T]):
    """One call of a method of an actor; it is asked as often as it is awaited.

    Args:
        actor: The actor's name.
        method: Which of its methods; with dots, one of a part of it.
        arguments: What the method is called with, by position.
        before: Called before it is sent, which may block.
    """

    def __init__(
        self, actor: str, method: str, arguments: tuple[Any, ...], before: Callable[[], object] | None = None
    ) -> None:
        self._actor = actor
        self._method = method
        self._arguments = arguments
        self._before = before

    def __await__(self) -> Generator[Any, None, T]:
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        if self._before is not None:
            await asyncio.to_thread(self._before)
        from flyteray._actors import calls  # deferred: it needs Ray

        answer: T = await calls.acall(self._actor, self._method, *self._arguments)
        return answer

    def __str__(self) -> str:
        return self._method

    def block(self) -> T:
        """The answer, for which this thread waits."""
        if self._before is not None:
            self._before()
        from flyteray._actors import calls  # deferred: it needs Ray

        answer: T = calls.call(self._actor, self._method, *self._arguments)
        return answer

    def send(self) -> ray.ObjectRef:
        """Ask, and wait for nothing; the reference is that of the answer."""
        from flyteray._actors import calls  # deferred: it needs Ray

        return calls.send(self._actor, self._method, *self._arguments)


class Stub:
    """Stands for an actor, or for a part of it: what is called on it is an :class:`Asked`."""

    def __init__(self, actor: str, part: str = "", before: Callable[[], object] | None = None) -> None:
        self._actor = actor
        self._part = part
        self._before = before

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("_"):
            raise AttributeError(name)
        return Stub(self._actor, f"{self._part}.{name}" if self._part else name, self._before)

    def __call__(self, *arguments: Any) -> Asked[Any]:
        return Asked(self._actor, self._part, arguments, self._before)


def answer(question: Awaitable[T]) -> T:
    """Block for the answer of an actor."""
    assert isinstance(question, Asked), "only what is asked of a stub can be blocked for"
    told: T = question.block()
    return told


def sent(question: Awaitable[Any]) -> ray.ObjectRef:
    """Ask an actor, and wait for nothing; the reference is that of the answer."""
    assert isinstance(question, Asked), "only what is asked of a stub can be sent off"
    return question.send()
