"""A room: who waits in it for a place, and until when."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flyteray._client.local.room import LocalPlaces
from flyteray._plan.actions.room import EndlessRoom, Room


async def holding(room: Room, child: str, held: list[str], until: asyncio.Event) -> None:
    async with room.aplace(child):
        held.append(child)
        await until.wait()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    async def scene() -> list[str]:
        room, held, until = LocalPlaces(2).room("a0"), list[str](), asyncio.Event()
        tasks = [asyncio.ensure_future(holding(room, child, held, until)) for child in "abcd"]
        await settled()
        tasks[2].cancel()
        until.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return held

    assert asyncio.run(scene()) == ["a", "b", "d"]


def test_an_error_leaves_the_place_to_others() -> None:
    room = LocalPlaces(2).room("a0")

    for _ in range(5):
        with pytest.raises(KeyError), room.place("child"):
            raise KeyError


def test_a_parent_that_has_waited_goes_on_when_it_has_a_place_again() -> None:
    places = LocalPlaces(2)
    room, other = places.room("a0"), places.room("b")
    order: list[str] = []
    begun = threading.Event()

    def call() -> None:
        with room.place("b"):
            with other.place("c"):
                order.append("c")
            begun.set()
            order.append("b")

    with room.place("d"):
        thread = threading.Thread(target=call)
        thread.start()
        begun.wait()
    thread.join()

    assert order == ["c", "b"]


def test_those_who_wait_are_told_that_there_will_be_no_place() -> None:
    async def scene() -> None:
        room, held, until = LocalPlaces(2).room("a0"), list[str](), asyncio.Event()
        tasks = [asyncio.ensure_future(holding(room, child, held, until)) for child in "abc"]
        await settled()
        room.failed(OSError("the keeper is gone"))  # type: ignore[attr-defined]
        until.set()
        with pytest.raises(OSError, match="gone"):
            await asyncio.gather(*tasks)

    asyncio.run(scene())


def test_a_run_without_a_limit_has_room_for_all() -> None:
    assert isinstance(LocalPlaces(0).room("a0"), EndlessRoom)
