"""The window of a map: few of many calls at one time, results in order."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from flyteray._client.maps.window import Window
from flyteray.errors import RuntimeUserError


class Calls:
    """Calls that end when they are told to, and how many there were at one time."""

    def __init__(self) -> None:
        self.open: dict[int, asyncio.Event] = {}
        self.most = 0

    async def call(self, given: tuple[Any, ...]) -> int:
        (number,) = given
        event = self.open[number] = asyncio.Event()
        self.most = max(self.most, len(self.open))
        await event.wait()
        del self.open[number]
        return int(number)

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.open[number].set()


def window(call: Callable[[tuple[Any, ...]], Coroutine[Any, Any, Any]], at_once: int) -> Window[Any]:
    return Window(call, at_once, contextvars.copy_context())


def numbers(given: range) -> list[tuple[int]]:
    return [(number,) for number in given]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def all_of(held: Window[Any], inputs: Iterator[tuple[Any, ...]]) -> list[Any]:
    found: list[Any] = []
    more = True
    while more or not held.is_empty:
        room = held.room
        given = list(itertools.islice(inputs, room)) if more else []
        more = more and len(given) == room
        found += [outcome.value for outcome in await held.step(given, more)]
    return found


def test_results_come_in_the_order_of_the_inputs_and_few_calls_go_on_at_one_time() -> None:
    running: list[int] = []
    most: list[int] = []

    async def call(given: tuple[Any, ...]) -> int:
        running.append(given[0])
        most.append(len(running))
        for _ in range(20 + given[0] % 5):
            await asyncio.sleep(0)
        running.remove(given[0])
        return int(given[0])

    found = asyncio.run(all_of(window(call, 7), ((number,) for number in range(500))))

    assert found == list(range(500))
    assert max(most) == 7


def test_no_more_inputs_are_read_than_there_is_room_for_while_the_first_call_goes_on() -> None:
    async def scene() -> tuple[list[int], int]:
        calls = Calls()
        held = window(calls.call, 4)
        seen = iter(range(1000))
        reading = asyncio.ensure_future(all_of(held, ((number,) for number in seen)))
        for _ in range(20):  # all but the first call end, again and again
            await settled()
            calls.end(*(number for number in calls.open if number))
        still_open = list(calls.open)
        reading.cancel()
        await held.cancel()
        return still_open, next(seen)

    still_open, read = asyncio.run(scene())

    assert still_open == [0]
    assert 2 * 4 < read <= 3 * 4


def test_it_asks_for_inputs_before_all_calls_have_ended() -> None:
    async def scene() -> list[Any]:
        calls = Calls()
        held = window(calls.call, 2)
        step = asyncio.ensure_future(held.step(numbers(range(4)), more=True))
        await settled()
        calls.end(1)
        return [await step, sorted(calls.open), await held.cancel()]

    assert asyncio.run(scene()) == [[], [0, 2], None]


def test_a_failure_and_an_exit_are_outcomes_of_their_calls() -> None:
    async def call(given: tuple[Any, ...]) -> int:
        raise given[0]

    async def scene() -> list[Exception | None]:
        held = window(call, 2)
        given: list[tuple[Any, ...]] = [(KeyError("mine"),), (SystemExit("left"),)]
        found = await held.step(given, more=False)
        while not held.is_empty:
            found += await held.step([], more=False)
        return [outcome.error for outcome in found]

    failed, left = asyncio.run(scene())

    assert isinstance(failed, KeyError)
    with pytest.raises(RuntimeUserError, match="left"):
        raise left or AssertionError


def test_what_is_cancelled_has_ended_and_nothing_else_begins() -> None:
    async def scene() -> list[Any]:
        calls = Calls()
        ended: list[int] = []

        async def call(given: tuple[Any, ...]) -> None:
            try:
                await calls.call(given)
            finally:
                ended.append(given[0])

        held = window(call, 2)
        step = asyncio.ensure_future(held.step(numbers(range(5)), more=False))
        await settled()
        step.cancel()
        await held.cancel()
        return [ended, sorted(calls.open)]

    assert asyncio.run(scene()) == [[0, 1], [0, 1]]
