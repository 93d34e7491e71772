from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flyteray._client.bridge import Found, ListMethodVerb
from flyteray._client.streams import StreamVerb
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs


class Counter:
    """Counts up to a number, or fails there."""

    @StreamVerb
    async def count(self, to: int) -> AsyncIterator[int]:
        """Numbers."""
        for number in range(to):
            await asyncio.sleep(0)
            yield number
        if to == 3:
            raise ValueError("three")

    @ListMethodVerb
    async def listed(self, to: int) -> list[int]:
        """Numbers at once."""
        return list(range(to))


def test_a_stream_is_gone_through_plainly_and_asynchronously_by_both_of_its_forms() -> None:
    async def look() -> list[list[int]]:
        here = Counter()
        return [
            [number async for number in here.count(2)],
            [number async for number in here.count.aio(to=2)],
            list(here.count(2)),
        ]

    assert list(Counter().count(2)) == [0, 1]
    assert asyncio.run(look()) == [[0, 1]] * 3
    assert next(Counter().count(2)) == 0
    assert Counter.count.__doc__ == "Numbers."


def test_what_a_stream_raises_comes_after_what_it_gave() -> None:
    seen: list[int] = []

    with pytest.raises(ValueError, match="three"):
        seen.extend(number for number in Counter().count(3) if seen.append(number))

    assert seen == [0, 1, 2]


def test_a_list_is_gone_through_as_a_list_and_as_a_generator() -> None:
    async def look() -> tuple[list[int], list[int]]:
        return await Counter().listed.aio(2), [number async for number in Counter().listed.aio(2)]

    found = Counter().listed(2)

    assert (found, found[1], len(found)) == ([0, 1], 1, 2)
    assert [next(found), next(found), next(found, None)] == [0, 1, None]
    assert list(found) == [0, 1]
    assert asyncio.run(look()) == ([0, 1], [0, 1])
    assert isinstance(found, Found)


def test_inputs_and_outputs_may_be_awaited() -> None:
    async def look() -> tuple[object, object]:
        return await ActionInputs(x=1), await ActionOutputs((1, 2))

    assert asyncio.run(look()) == ({"x": 1}, (1, 2))
