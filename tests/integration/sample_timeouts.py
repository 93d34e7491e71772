"""Tasks that take too long, each in its own way; each notes in a file in which process it began."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import flyteray as flyte

env = flyte.TaskEnvironment(name="timeouts")
AT_ONCE = flyte.Backoff(timedelta(0))


def note(file: str, pid: int = 0) -> None:
    with Path(file).open("a") as notes:
        notes.write(f"{pid or os.getpid()}\n")


@env.task(timeout=2, retries=flyte.RetryStrategy(1, AT_ONCE))
def sleeps(file: str) -> None:
    note(file, subprocess.Popen(["sleep", "600"]).pid)
    print("sleeps now", flush=True)
    time.sleep(600)


@env.task(timeout=2, retries=flyte.RetryStrategy(1, AT_ONCE))
def sits_in_c(file: str) -> int:
    note(file)
    return sum(range(10**14))  # it keeps Python's lock


@env.task(timeout=1)
async def awaits(file: str) -> None:
    note(file)
    await asyncio.sleep(600)


@env.task(timeout=1)
async def blocks(file: str) -> None:
    note(file)
    time.sleep(600)  # noqa: ASYNC251


@env.task(timeout=1)
def does_not_listen(file: str) -> None:
    note(file)
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            continue


@env.task
def calls_each(folder: str) -> dict[str, str]:
    ended = {}
    for task in (sits_in_c, awaits, blocks, does_not_listen):
        try:
            task.override(retries=0)(f"{folder}/{task.short_name}") if task is sits_in_c else _run(
                task, folder
            )
        except flyte.errors.TaskTimeoutError as error:
            ended[task.short_name] = type(error).__name__
    return ended


def _run(task: flyte.TaskTemplate, folder: str) -> None:
    file = f"{folder}/{task.short_name}"
    asyncio.run(task.aio(file)) if task.is_async else task(file)


@env.task
async def calls_one_that_can_not_begin(file: str) -> str:
    holder = asyncio.create_task(holds_all.aio(file))
    try:
        while not Path(file).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await never_begins.aio()
    except flyte.errors.MaxQueuedTimeExceededError as error:
        return str(error)
    finally:
        holder.cancel()
    return ""


all_cpus = flyte.TaskEnvironment(name="timeouts-all", resources=flyte.Resources(cpu=2))


@all_cpus.task
def holds_all(file: str) -> None:
    note(file)
    time.sleep(600)


@all_cpus.task(timeout=flyte.Timeout(max_queued_time=2))
def never_begins() -> None:
    pass


@env.task(timeout=flyte.Timeout(deadline=3), retries=flyte.RetryStrategy(9, AT_ONCE))
def is_late(file: str) -> None:
    note(file)
    time.sleep(1)
    raise ValueError("again")


@env.task
def sleeps_on(file: str) -> None:
    note(file)
    time.sleep(600)


@env.task
async def says_why_its_child_ended(file: str) -> str:
    try:
        await sleeps_on.aio(file)
    except flyte.errors.ActionAbortedError as error:
        return str(error)
    return ""
