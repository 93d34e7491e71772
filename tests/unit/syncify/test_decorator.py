from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flyteray.syncify import Syncify, syncify

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="")
closed: list[str] = []


@syncify
async def double(x: int) -> int:
    """Twice the number."""
    await asyncio.sleep(0)
    return 2 * x


@syncify
async def count(to: int) -> AsyncIterator[int]:
    try:
        for number in range(to):
            yield number
    finally:
        closed.append("count")


@syncify
async def fail() -> None:
    raise KeyError("x")


@syncify
async def nested(x: int) -> int:
    doubled: int = double(x)
    return doubled + 1


@syncify
async def where() -> tuple[str, str]:
    return threading.current_thread().name, word.get()


class Client:
    kind = "client"

    @syncify
    async def get(self, x: int) -> tuple[str, int]:
        return self.kind, x

    @syncify
    @classmethod
    async def make(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @syncify
    @staticmethod
    async def plain(x: int) -> int:
        return x

    @syncify
    async def pages(self) -> AsyncIterator[str]:
        yield self.kind


class Special(Client):
    kind = "special"


def test_a_function_blocks_or_is_awaited() -> None:
    assert double(2) == 4
    assert asyncio.run(double.aio(3)) == 6
    assert double.__doc__ == "Twice the number."


def test_a_generator_is_gone_through_either_way() -> None:
    async def all_of_it() -> list[int]:
        return [number async for number in count.aio(3)]

    assert list(count(3)) == asyncio.run(all_of_it()) == [0, 1, 2]


def test_a_generator_that_is_left_is_closed() -> None:
    closed.clear()
    numbers = count(3)

    assert next(numbers) == 0
    numbers.close()
    assert closed == ["count"]


def test_methods_of_all_kinds() -> None:
    assert Special().get(1) == ("special", 1)
    assert Special.make(1) == Special().make(1) == ("Special", 1)
    assert Special.plain(1) == Special().plain(1) == 1
    assert list(Special().pages()) == ["special"]
    assert asyncio.run(Special.make.aio(2)) == ("Special", 2)


def test_errors_are_the_functions_own() -> None:
    with pytest.raises(KeyError, match="x"):
        fail()


def test_a_blocking_call_from_such_a_function_does_not_wait_for_itself() -> None:
    assert nested(2) == 5


def test_a_blocking_call_works_while_a_loop_runs() -> None:
    async def inside() -> Any:
        return double(2)

    assert asyncio.run(inside()) == 4


def test_calls_run_on_the_loop_of_their_decorator_with_the_callers_context() -> None:
    word.set("here")
    other = Syncify("other")(where.aio)

    assert where() == ("flyteray_syncify", "here")
    assert other() == ("other", "here")


def test_what_is_not_async_is_refused() -> None:
    with pytest.raises(TypeError, match="'len' is not async"):
        syncify(len)
