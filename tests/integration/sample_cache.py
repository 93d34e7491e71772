"""Tasks whose results are kept. Each notes in a file that it was run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

import flyteray as flyte
from flyteray.io import File

env = flyte.TaskEnvironment(name="cached", cache="auto", resources=flyte.Resources(cpu=0.1))
MINE = flyte.Cache("auto", ignored_inputs="journal")
ALONE = flyte.Cache("auto", ignored_inputs=("journal", "go"), serialize=True)


def note(journal: str, what: object) -> None:
    with Path(journal).open("a") as file:
        file.write(f"{what}\n")


@env.task(cache=MINE)
def double(x: int, journal: str) -> int:
    note(journal, x)
    return 2 * x


@env.task(cache=MINE)
def large(size: int, journal: str) -> np.ndarray[Any, Any]:
    note(journal, size)
    return np.full(size, 7.0)


@env.task(cache=MINE)
def mean(values: np.ndarray[Any, Any], journal: str) -> float:
    note(journal, "mean")
    return float(values.mean())


@env.task(cache=MINE)
def fails(x: int, journal: str) -> int:
    note(journal, x)
    raise ValueError(x)


@env.task(cache=MINE)
async def written(text: str, journal: str) -> File[str]:
    note(journal, text)
    file: File[str] = File.new_remote("text.txt")
    with file.open_sync("w") as out:
        out.write(text)
    return file


@env.task(cache=ALONE)
def alone(x: int, journal: str, go: str) -> int:
    note(journal, x)
    while not Path(go).exists():
        time.sleep(0.02)
    return x


@env.task(cache="disable")
def sync_parent(numbers: list[int], journal: str) -> list[int]:
    return [double(number, journal) for number in numbers]


@env.task(cache="disable")
async def async_parent(numbers: list[int], journal: str) -> list[int]:
    return await asyncio.gather(*(double.aio(number, journal) for number in numbers))


@env.task(cache="disable")
async def reader(text: str, journal: str) -> str:
    file = await written(text, journal)
    async with file.open("r") as opened:
        return str(await opened.read())


@env.task(cache="disable")
async def many_alone(count: int, x: int, journal: str, go: str) -> list[int]:
    return await asyncio.gather(*(alone.aio(x, journal, go) for _ in range(count)))


@env.task(cache="disable")
async def fails_alone(x: int, journal: str, go: str) -> int:
    raise ValueError(await alone.aio(x, journal, go))
