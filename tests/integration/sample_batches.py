"""Parents with many short children, some of which are not short after all."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import flyteray as flyte

env = flyte.TaskEnvironment(name="batches")
MANY = 60


def ray_task() -> str:
    """The task of Ray's that this code runs in."""
    import ray  # the tasks below are run by it; their users need not import it

    return str(ray.get_runtime_context().get_task_id())


@env.task
def short(number: int) -> tuple[int, str]:
    return number, ray_task()


@env.task
async def fan_out(width: int) -> list[tuple[int, str]]:
    await asyncio.gather(*(short.aio(-1) for _ in range(16)))  # it is known now how long they take
    return list(await asyncio.gather(*(short.aio(number) for number in range(width))))


@env.task
def meets(number: int, folder: str) -> int:
    """Wait for the call behind this one where there is a folder to meet in."""
    if folder:
        Path(folder, str(number)).touch()
        if number == 0:
            while not Path(folder, str(MANY - 1)).exists():
                time.sleep(0.01)
    return number


@env.task
async def meeting(folder: str) -> list[int]:
    await asyncio.gather(*(meets.aio(-1, "") for _ in range(16)))
    return list(await asyncio.gather(*(meets.aio(number, folder) for number in range(MANY))))


@env.task
def held(number: int, until: str) -> int:
    """Wait for a file in one of the calls."""
    while until and number == 3 and not Path(until).exists():
        time.sleep(0.01)
    return number


@env.task
async def first_come(until: str) -> list[int]:
    """What has come before the one that is held may go on."""
    await asyncio.gather(*(held.aio(-1, "") for _ in range(16)))
    calls = [asyncio.ensure_future(held.aio(number, until)) for number in range(MANY)]
    came = [await each for each in asyncio.as_completed(calls[:3] + calls[4:])]
    Path(until).touch()
    return [*sorted(came), await calls[3]]


@env.task
def journaled(number: int, folder: str, held: bool = False) -> int:
    if folder:
        Path(folder, str(number)).touch()
    while held and number == 3:
        time.sleep(0.01)
    return number


@env.task
async def cancelling(folder: str, held: bool) -> list[Any]:
    """Cancel one of the calls: while it runs where it is held, and before it has begun otherwise."""
    await asyncio.gather(*(journaled.aio(-1, "") for _ in range(16)))
    calls = [asyncio.ensure_future(journaled.aio(number, folder, held)) for number in range(MANY)]
    await asyncio.sleep(0)
    while held and not Path(folder, "3").exists():  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.01)
    calls[3].cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    return [each if isinstance(each, int) else type(each).__name__ for each in ended]


@env.task
def deadly(number: int, folder: str) -> int:
    """End the process in one of the calls, the first time."""
    if folder:
        with open(Path(folder, "journal"), "a") as journal:
            journal.write(f"{number}\n")
        if number == 3 and not Path(folder, "died").exists():
            Path(folder, "died").touch()
            os._exit(1)
    return number


@env.task
async def dying(folder: str) -> list[int]:
    await asyncio.gather(*(deadly.aio(-1, "") for _ in range(16)))
    return list(await asyncio.gather(*(deadly.aio(number, folder) for number in range(MANY))))


@env.task(retries=1)
def failing(number: int) -> int:
    if number == 3 and flyte.ctx().attempt_number == 0:
        raise ValueError("not the first time")
    if number == 5:
        raise KeyError("never")
    return number


@env.task
async def some_fail() -> list[Any]:
    await asyncio.gather(*(failing.aio(-1) for _ in range(16)))
    ended = await asyncio.gather(*(failing.aio(number) for number in range(MANY)), return_exceptions=True)
    return [each if isinstance(each, int) else str(each) for each in ended]


@env.task
def large(number: int, nbytes: int) -> bytes:
    return bytes(nbytes)


@env.task
async def growing() -> list[int]:
    await asyncio.gather(*(large.aio(-1, 1) for _ in range(16)))
    return [len(each) for each in await asyncio.gather(*(large.aio(number, 300_000) for number in range(20)))]


@env.task
async def nested(number: int) -> int:
    return (await short.aio(number))[0]


@env.task
async def deep() -> list[int]:
    await asyncio.gather(*(nested(-1) for _ in range(16)))
    return list(await asyncio.gather(*(nested(number) for number in range(MANY))))
