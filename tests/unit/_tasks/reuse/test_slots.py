from __future__ import annotations

import asyncio
import threading

from flyteray._tasks.reuse.slots import Slots
from tests.waiting import eventually


def test_there_are_no_more_than_there_are() -> None:
    slots = Slots(2)

    assert [slots.take(0) for _ in range(3)] == [True, True, False]
    assert slots.taken == 2
    slots.give()
    assert slots.take(0)


def test_who_comes_first_is_served_first() -> None:
    slots, order = Slots(1), []
    assert slots.take(0)

    def come(number: int) -> None:
        assert slots.take(None)
        order.append(number)
        slots.give()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=come, args=(number,)))
        threads[-1].start()
        assert eventually(lambda number=number: len(slots._waiting) == number + 1)
    slots.give()
    for thread in threads:
        thread.join()

    assert order == [0, 1, 2]
    assert slots.taken == 0


def test_who_does_not_wait_any_more_gets_none() -> None:
    slots = Slots(1)
    assert slots.take(0)
    assert not slots.take(0.01)
    slots.give()

    assert slots.taken == 0
    assert slots.take(0)


def test_a_slot_is_others_while_its_owner_waits() -> None:
    slots = Slots(1)
    assert slots.take(0)

    with slots.given_back():
        assert slots.take(0)
        slots.give()
    assert slots.taken == 1


def test_coroutines_give_theirs_back_too() -> None:
    slots = Slots(1)
    assert slots.take(0)

    async def wait() -> None:
        async with slots.given_back_async():
            assert slots.take(0)
            asyncio.get_running_loop().call_later(0.01, slots.give)

    asyncio.run(wait())
    assert slots.taken == 1
