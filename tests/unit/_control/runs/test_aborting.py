from __future__ import annotations

import asyncio

from flyteray._control.runs.aborting import Aborting


def test_who_listens_is_told_at_once_and_of_each_action_once() -> None:
    async def listen() -> list[dict[str, str]]:
        aborting = Aborting()
        asyncio.get_running_loop().call_later(0.01, aborting.order, "r", "a", "why")
        first = await aborting.orders("r", [], 60)
        aborting.order("r", "a", "another reason")
        aborting.order("r", "b", "why not")
        return [first, await aborting.orders("r", ["a"], 60), await aborting.orders("r", ["a", "b"], 0.01)]

    assert asyncio.run(listen()) == [{"a": "why"}, {"b": "why not"}, {}]


def test_nobody_listens_to_a_run_that_has_ended() -> None:
    async def listen() -> dict[str, str]:
        aborting = Aborting()
        aborting.order("other", "a", "why")
        asyncio.get_running_loop().call_later(0.01, aborting.ended, "r")
        return await aborting.orders("r", [], 60)

    assert asyncio.run(listen()) == {}
