"""Tasks that hold all CPUs, and tasks that wait for them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import flyteray as flyte

small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(cpu=1))
large = flyte.TaskEnvironment(name="large", resources=flyte.Resources(cpu=2))


@large.task
def hold(until: str) -> None:
    while not Path(until).exists():
        time.sleep(0.02)


@small.task
def hold_one(until: str) -> None:
    while not Path(until).exists():
        time.sleep(0.02)


@large.task
def quick() -> str:
    return "ran"


@small.task
async def parent() -> list[str]:
    return list(await asyncio.gather(quick.aio(), quick.aio()))
