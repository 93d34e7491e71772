"""Tasks for the tests of runs; one file, so that their workers are started once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import flyteray as flyte

env = flyte.TaskEnvironment(name="samples")
other = flyte.TaskEnvironment(name="others", env_vars={"FLAVOUR": "mint"})


@dataclass
class Point:
    x: int
    y: int


class Broken(Exception):
    """An exception of the user's own."""


@env.task
def double(x: int) -> int:
    return 2 * x


@env.task
async def triple(x: int) -> int:
    return 3 * x


@env.task
def split(x: int) -> tuple[int, str]:
    return x, str(x)


@env.task
def mirror(point: Point) -> Point:
    return Point(point.y, point.x)


@env.task
def weights(megabytes: int) -> dict[str, Any]:
    return {"w": np.ones(megabytes * 131_072), "name": "ones"}


@env.task
def fail(message: str) -> None:
    raise Broken(message)


@env.task
def unpicklable() -> Any:
    return {"guard": threading.Lock()}


@env.task
def wrong_type() -> int:
    return "seven"  # type: ignore[return-value]


@env.task
def calls_sync_children(n: int) -> int:
    return sum(double(i) for i in range(n))


@env.task
async def calls_async_children(n: int) -> int:
    return sum(await asyncio.gather(*(triple(i) for i in range(n))))


@env.task
async def calls_sync_children_from_async(n: int) -> int:
    return sum(await asyncio.gather(*(double.aio(i) for i in range(n))))


@env.task
async def forgets_aio() -> int:
    return double(1)


@env.task
async def reports_child_failure() -> list[Any]:
    try:
        await fail.aio("inner")
    except flyte.errors.RuntimeUserError as error:
        return [error.code, type(error.__cause__).__name__, str(error.__cause__)]
    return []


@env.task
async def leaf(i: int) -> int:
    return i


@env.task
async def branch(width: int) -> int:
    return sum(await asyncio.gather(*(leaf(i) for i in range(width))))


@env.task
async def tree(width: int) -> int:
    return sum(await asyncio.gather(*(branch(width) for _ in range(width))))


@env.task
def sync_leaf(i: int) -> int:
    return i


@env.task
def sync_branch(width: int) -> int:
    return sum(sync_leaf(i) for i in range(width))


@env.task
async def sync_tree(width: int) -> int:
    return sum(await asyncio.gather(*(sync_branch.aio(width) for _ in range(width))))


@env.task(retries=3)
def succeeds_at_attempt(wanted: int, folder: str) -> int:
    attempt = flyte.ctx().attempt_number
    Path(folder, str(attempt)).touch()
    if attempt < wanted:
        raise Broken(f"attempt {attempt}")
    return int(attempt)


@env.task
def dies(folder: str) -> str:
    marker = Path(folder, "died")
    if not marker.exists():
        marker.touch()
        os._exit(7)
    return "alive"


@env.task
def writes_when_done(path: str, seconds: float) -> str:
    time.sleep(seconds)
    Path(path).write_text("done")
    return "done"


@env.task
async def waits_for_children(started: str, seconds: float) -> None:
    await asyncio.gather(*(writes_then_sleeps.aio(f"{started}-{i}", seconds) for i in range(2)))


@env.task
def writes_then_sleeps(started: str, seconds: float) -> None:
    Path(started).write_text(str(os.getpid()))
    try:
        time.sleep(seconds)
    finally:
        Path(started).unlink()


@env.task
def ignores_all(started: str) -> None:
    Path(started).write_text(str(os.getpid()))
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(600)


@other.task
def flavour() -> str:
    return os.environ.get("FLAVOUR", "none")


@env.task
async def flavours() -> list[str]:
    return [os.environ.get("FLAVOUR", "none"), await flavour.aio(), await own_flavour.aio()]


@env.task
def own_flavour() -> str:
    return os.environ.get("FLAVOUR", "none")


@env.task
def runs_another(x: int) -> int:
    """A run started from within a task, waited for by a parent that must not hold the CPU meanwhile."""
    result: int = flyte.run(double, x).outputs()[0]
    return result


@env.task
def where() -> list[Any]:
    context = flyte.ctx()
    return [context.action.name, context.action.run_name, context.mode]


@env.task
def found() -> dict[str, Any]:
    context = flyte.ctx()
    return {
        "variable": os.environ.get("ASKED_FOR"),
        "told": flyte.get_custom_context(),
        "data": context.raw_data_path,
        "same": context.custom_context == flyte.get_custom_context(),
    }


@env.task
async def found_below() -> list[dict[str, Any]]:
    with flyte.group("below"), flyte.custom_context(by="parent", level="1"):
        inside = await found.aio()
    return [inside, await found.aio()]


@env.task(retries=1)
def tells(first_try: str) -> None:
    """Writes in each of the ways, and dies in its first attempt."""
    print(f"told by Python, try {flyte.ctx().attempt_number}")
    os.write(2, b"told natively\n")
    subprocess.run(["echo", "told by a child"], check=True)
    tells_nothing()
    if not Path(first_try).exists():
        while not Path(first_try).exists():
            time.sleep(0.1)
        os._exit(3)
    tells_below()


@env.task
def tells_nothing() -> None:
    pass


@env.task
def tells_below() -> None:
    print("told below")
    raise Broken("below")


@env.task(report=True, retries=1)
async def shows(folder: str) -> None:
    """Shows in each attempt, fails in the first, and waits in the second until it has been looked at."""
    attempt = flyte.ctx().attempt_number
    await flyte.report.log.aio(f"<p>try {attempt}</p>", do_flush=True)
    flyte.report.get_tab("later").log("<p>not yet</p>")
    if attempt == 0:
        raise Broken("the rate is <negative>")
    await shows_below(1)
    while not Path(folder, "seen").exists():  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.05)
    flyte.report.replace("<p>done</p>", do_flush=True)


@env.task(report=True)
async def shows_below(number: int) -> None:
    flyte.report.log(f"<p>below {number}</p>")


@env.task(report=True)
async def shows_and_waits() -> None:
    flyte.report.log("<p>before</p>")
    await asyncio.sleep(600)


@env.task(report=True)
def shows_and_returns_another_type() -> int:
    flyte.report.log("<p>shown</p>")
    return "seven"  # type: ignore[return-value]


@env.task(report=True)
def shows_and_dies() -> None:
    flyte.report.log("<p>flushed</p>", do_flush=True)
    flyte.report.log("<p>lost</p>")
    os._exit(3)
