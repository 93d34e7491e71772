"""Tasks for the tests of runs; one file, so that their workers are started once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import flyteray as flyte
from flyteray._plan.values.outputs import output_key
from flyteray.errors import RuntimeUserError
from flyteray.io import Dir, File

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
    if flyte.ctx().mode != "local":  # where users' code takes the variable for a sign of a cluster
        assert os.environ["FLYTE_ATTEMPT_NUMBER"] == str(attempt)
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
def notes(journal: str, number: int) -> int:
    with open(journal, "a") as file:
        file.write(f"{number}\n")
    return number


@env.task
async def notes_and_waits(journal: str, gate: str) -> list[int]:
    first = await asyncio.gather(*(notes.aio(journal, number) for number in range(3)))
    await asyncio.to_thread(_until, gate)
    return [*first, await notes.aio(journal, 3)]


@flyte.trace
def traced(journal: str, number: int) -> int:
    with open(journal, "a") as file:
        file.write(f"{number}\n")
    return number


@flyte.trace
def notes_a_trace(journal: str) -> None:
    with open(journal, "a") as file:
        file.write("trace\n")


@env.task
async def breaks_while_there_is(journal: str, broken: str) -> list[int]:
    notes_a_trace(journal)
    done = await asyncio.gather(*(notes.aio(journal, number) for number in range(3)))
    if Path(broken).exists():
        raise ValueError("broken")
    return [*done, await notes.aio(journal, 3)]


@env.task
def length(journal: str, place: File | Dir) -> int:
    with Path(journal).open("a") as file:
        file.write(f"{place.name}\n")
    files = place.walk_sync() if isinstance(place, Dir) else [place]
    return sum(len(Path(each.download_sync()).read_bytes()) for each in files)


@env.task(retries=1)
def uploads(journal: str, broken: str) -> list[int]:
    """Uploads and writes files that children read, and fails in its first attempt."""
    Path("folder").mkdir(exist_ok=True)
    Path("folder/inside.txt").write_text("inside")
    given: File[str] = File.from_local_sync("folder/inside.txt")
    made: File[str] = File.new_remote("made.txt")
    with made.open_sync("w") as stream:
        stream.write("made")
    done = [length(journal, place) for place in (given, made, Dir.from_local_sync("folder"))]
    with made.open_sync("w") as stream:
        stream.write(f"attempt {flyte.ctx().attempt_number}")
    done.append(length(journal, made))
    if Path(broken).exists() or flyte.ctx().attempt_number == 0:
        raise Broken
    return done


@env.task(retries=1)
def goes_on(journal: str) -> tuple[int, str]:
    """Fails in its first attempt and dies in its second one, behind what each of them records."""
    checkpoint = flyte.ctx().checkpoint
    assert checkpoint is not None
    before = checkpoint.load_sync()
    steps = before.read_text() if before else ""
    checkpoint.save_sync(f"{steps}{flyte.ctx().attempt_number}".encode())
    flyte.durable.sleep(0.01)
    done = traced(journal, 1)
    if not steps:
        raise ValueError("once")
    done += traced(journal, 2)
    if len(steps) == 1:
        os._exit(1)
    return done, steps


def _until(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.05)


@env.task(retries=1)
async def fails_once_behind_children(journal: str) -> list[int]:
    done = await asyncio.gather(*(notes.aio(journal, number) for number in range(3)))
    attempt = flyte.ctx().attempt_number
    if attempt == 0:
        raise ValueError("once")
    return [*done, attempt]


@env.task
async def waits_for_children(started: str, seconds: float) -> None:
    await asyncio.gather(*(writes_then_sleeps.aio(f"{started}-{i}", seconds) for i in range(2)))


@env.task
def writes_then_sleeps(started: str, seconds: float) -> None:
    try:
        Path(started).write_text(str(os.getpid()))
        time.sleep(seconds)
    finally:  # an interrupt may come before the file is whole
        Path(started).unlink(missing_ok=True)


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


@env.task
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


@env.task
def fails_at(x: int, bad: int) -> int:
    if x == bad:
        raise Broken(f"at {x}")
    return x


@env.task
def maps(n: int) -> list[int]:
    return list(flyte.map(double, range(n), concurrency=4, return_exceptions=False))


@env.task
async def maps_blocking_in_async(n: int) -> list[int]:
    """A plain map of an async task, and one of a parent that maps itself, on the thread of a loop."""
    first = list(flyte.map(triple, range(n), return_exceptions=False))
    return first + [sum(each) for each in flyte.map(maps, [2, 3], return_exceptions=False)]


@env.task
async def maps_with_errors(n: int) -> list[str]:
    partial = functools.partial(fails_at, bad=1)
    named = [type(each).__name__ async for each in flyte.map.aio(partial, range(n), group_name="mine")]
    try:
        sum(flyte.map(partial, range(n)))
    except flyte.errors.RuntimeUserError as error:
        return [*named, str(error)]
    return named


@env.task
async def leaves_a_map_early(started: str) -> int:
    names = [f"{started}-{number}" for number in range(2)]
    async for _ in flyte.map.aio(waits_for_a_file, ["", *names], [*names, "", ""]):
        break
    return 1


@env.task
def waits_for_a_file(mine: str, other: str) -> None:
    """Writes a file of its own and sleeps, or without one waits for the other's."""
    if not mine:
        while not Path(other).exists():
            time.sleep(0.02)
        return
    writes_then_sleeps.forward(mine, 600)


@env.task
def holds_a_place(folder: str, number: int) -> int:
    """Counts those that are in here at the same time as itself."""
    mine = Path(folder, str(number))
    mine.touch()
    time.sleep(0.05)
    there = len(list(Path(folder).iterdir()))
    mine.unlink()
    return there


@env.task
async def branch_of_places(folder: str, number: int) -> int:
    return max(await asyncio.gather(*(holds_a_place.aio(folder, 10 * number + each) for each in range(3))))


@env.task
async def tree_of_places(folder: str) -> int:
    return max(await asyncio.gather(*(branch_of_places(folder, each) for each in range(4))))


def _die_when(holds: Callable[[], bool]) -> None:
    """Have this process killed as soon as that holds, before it has said what it would a moment later."""

    def look() -> None:
        while not holds():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=look, daemon=True).start()


def _outputs_of_the_run() -> Path:
    action = flyte.ctx().action
    return Path(os.environ["FLYTERAY_STORAGE"]) / output_key(action.run_name, action.name)


@env.task
def dies_once_called(told: str) -> str:
    _die_when(Path(told).exists)
    return "done"


@env.task
def fails_and_dies(told: str) -> str:
    _die_when(Path(told).exists)
    raise Broken("on purpose")


@flyte.trace
def goes_by() -> str:
    return "traced"


@env.task
def calls_who_die(folder: str) -> list[str]:
    found = [dies_once_called(f"{folder}/first")]
    Path(folder, "first").touch()
    try:
        fails_and_dies(f"{folder}/second")
    except RuntimeUserError as error:
        found.append(error.code)
    Path(folder, "second").touch()
    found.append(goes_by())
    _die_when(_outputs_of_the_run().exists)
    return found


@env.task
def dies_once_kept() -> str:
    _die_when(_outputs_of_the_run().exists)
    return "kept"
