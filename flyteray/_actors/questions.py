"""A question to an actor is written as a call of its interface, and sent when it is awaited, asked or sent off.

    info = await controller().runs.get(name)
    info = ask(controller().runs.get(name))

No method is named by a string: a stub takes the place of the object, and the type checker knows the interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ray

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Question(Awaitable[T]):
    """One call of a method of an actor, or with dots of a part of it; it is asked as often as it is awaited.

    ``before`` is called before it is sent, and may block.
    """

    actor: str
    method: str
    arguments: tuple[Any, ...]
    before: Callable[[], object] | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._answer().__await__()

    async def _answer(self) -> T:
        if self.before is not None:
            await asyncio.to_thread(self.before)
        from flyteray._actors import calls  # deferred: it needs Ray

        answer: T = await calls.acall(self.actor, self.method, *self.arguments)
        return answer

    def __str__(self) -> str:
        return self.method


class Stub:
    """Stands for an actor, or for a part of it: what is called on it is an :class:`Question`."""

    def __init__(self, actor: str, part: str = "", before: Callable[[], object] | None = None) -> None:
        self._actor = actor
        self._part = part
        self._before = before

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("_"):
            raise AttributeError(name)
        return Stub(self._actor, f"{self._part}.{name}" if self._part else name, self._before)

    def __call__(self, *arguments: Any) -> Question[Any]:
        return Question(self._actor, self._part, arguments, self._before)


def ask(question: Awaitable[T]) -> T:
    """Ask an actor, and block for its answer."""
    assert isinstance(question, Question), "only what is asked of a stub can be blocked for"
    if question.before is not None:
        question.before()
    from flyteray._actors import calls  # deferred: it needs Ray

    answer: T = calls.call(question.actor, question.method, *question.arguments)
    return answer


def send(question: Awaitable[Any]) -> ray.ObjectRef:
    """Ask an actor, and wait for nothing; the reference is that of the answer."""
    assert isinstance(question, Question), "only what is asked of a stub can be sent off"
    from flyteray._actors import calls  # deferred: it needs Ray

    return calls.send(question.actor, question.method, *question.arguments)
