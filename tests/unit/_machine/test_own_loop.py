"""An event loop beside blocking code."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flyteray._machine.own_loop import OwnLoop


async def begun(coroutine: asyncio.Event) -> asyncio.Task[bool]:
    return asyncio.ensure_future(coroutine.wait())


def test_what_goes_on_at_the_end_of_its_block_is_cancelled_and_its_thread_has_ended() -> None:
    with OwnLoop("beside") as loop:
        waiting = loop.run(begun(asyncio.Event()))
        names = {thread.name for thread in threading.enumerate()}

    assert "beside" in names
    assert waiting.cancelled()
    assert "beside" not in {thread.name for thread in threading.enumerate()}


def test_it_works_beside_a_loop_that_runs_on_the_thread_and_raises_what_was_raised() -> None:
    async def fails() -> None:
        raise KeyError("inside")

    async def outside() -> None:
        with OwnLoop("beside") as loop:
            loop.run(fails())

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(outside())
