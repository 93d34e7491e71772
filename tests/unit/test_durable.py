from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import flyteray as flyte

env = flyte.TaskEnvironment(name="durable")
local = flyte.with_runcontext(mode="local")
SEEN: list[Any] = []


@env.task(retries=2)
def blocking() -> None:
    SEEN.append((flyte.durable.now(), flyte.durable.time(), flyte.durable.now()))
    if flyte.ctx().attempt_number != 2:
        raise ValueError("again")


@env.task(retries=2)
async def awaiting() -> None:
    SEEN.append(
        (await flyte.durable.now.aio(), await flyte.durable.time.aio(), await flyte.durable.now.aio())
    )
    if flyte.ctx().attempt_number != 2:
        raise ValueError("again")


@pytest.mark.parametrize("task", [blocking, awaiting])
def test_the_time_is_that_of_the_first_attempt(task: Any) -> None:
    SEEN.clear()
    local.run(task)

    (first, seconds, later), *others = SEEN
    assert len(others) == 2
    assert all(each == SEEN[0] for each in others)
    assert first < later <= datetime.now(timezone.utc)
    assert first.timestamp() <= seconds <= later.timestamp()


@env.task(retries=1)
async def sleeps() -> float:
    began = time.monotonic()
    await flyte.durable.sleep.aio(timedelta(seconds=0.3))
    if flyte.ctx().attempt_number == 0:
        raise ValueError("again")
    return time.monotonic() - began


def test_a_sleep_that_is_over_is_not_slept_again() -> None:
    began = time.monotonic()
    assert local.run(sleeps).outputs()[0] < 0.2
    assert time.monotonic() - began >= 0.3


def test_outside_tasks_it_is_the_time_now() -> None:
    assert flyte.durable.now() < flyte.durable.now()
    assert abs(flyte.durable.time() - time.time()) < 5
    asyncio.run(flyte.durable.sleep.aio(0))
    flyte.durable.sleep(0)


def test_nobody_sleeps_for_less_than_nothing() -> None:
    with pytest.raises(ValueError, match="can't sleep for -1"):
        flyte.durable.sleep(-1)
    with pytest.raises(TypeError, match="seconds or a timedelta, got '1'"):
        flyte.durable.sleep("1")  # type: ignore[arg-type]
