from __future__ import annotations

import asyncio
import time
from typing import Any

from flyteray._control.runs.leases import Leases
from flyteray._plan.info import ActionEvent, ActionPhase

LONG = 60.0


def _event(action: str, phase: ActionPhase) -> ActionEvent:
    return ActionEvent(run="r", action=action, parent="a0", task="e.f", phase=phase, at=time.time())


async def _waits(leases: Leases, frees: Any) -> bool:
    """Whether a second one gets a lease only after something that frees it."""
    assert await leases.claim("key", "r", "child", "parent", LONG)
    waiting = asyncio.ensure_future(leases.claim("key", "other", "a0", None, LONG))
    await asyncio.sleep(0)
    assert not waiting.done()
    freed = frees(leases)
    if freed is not None:
        await freed
    return await asyncio.wait_for(waiting, LONG)


def test_a_lease_is_one_actions_until_it_gives_it_up() -> None:
    assert asyncio.run(_waits(Leases(), lambda leases: leases.release("key", "r", "child")))


def test_a_lease_ends_with_the_run_of_who_has_it() -> None:
    assert asyncio.run(_waits(Leases(), lambda leases: leases.ended("r")))


def test_a_lease_ends_with_the_action_that_called_who_has_it() -> None:
    ended = [_event("parent", ActionPhase.FAILED)]

    assert asyncio.run(_waits(Leases(), lambda leases: leases.record(ended)))


def test_who_has_a_lease_has_it_when_it_asks_again_and_others_wait_for_so_long() -> None:
    async def ask() -> list[bool]:
        leases = Leases()
        leases.record([_event("child", ActionPhase.SUCCEEDED)])
        first = [await leases.claim("key", "r", "child", "parent", LONG) for _ in range(2)]
        leases.record([_event("parent", ActionPhase.RUNNING), _event("other", ActionPhase.FAILED)])
        leases.ended("other")
        await leases.release("key", "other", "child")
        return [*first, await leases.claim("key", "other", "child", "parent", 0.01)]

    assert asyncio.run(ask()) == [True, True, False]


def test_all_who_wait_have_it_in_turn() -> None:
    async def take(leases: Leases, action: str, had: list[str]) -> None:
        assert await leases.claim("key", "r", action, None, LONG)
        had.append(action)
        await asyncio.sleep(0)
        assert had[-1] == action
        await leases.release("key", "r", action)

    async def all_of_them() -> list[str]:
        leases, had = Leases(), list[str]()
        await asyncio.gather(*(take(leases, str(number), had) for number in range(20)))
        return had

    assert sorted(asyncio.run(all_of_them()), key=int) == [str(number) for number in range(20)]
