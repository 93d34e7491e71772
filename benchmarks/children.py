"""What do 1,000 children cost, and does a map over 100,000 inputs stay small?

    python -m benchmarks.children --repeat 5
    python -m benchmarks.children --repeat 1 --inputs 100000

A running parent calls children that do nothing: by ``asyncio.gather``, by ``flyteray.map`` and in a group, each of
them recorded, beside the same parent in plain Ray. Then what a user would pick instead: Prefect on its own engine and
Flyte 2 in local mode, each in an environment of its own that is made for it. Last, one parent maps very many inputs, of
which 64 are under way at a time, and keeps no result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil

import flyteray as flyte
from benchmarks import harness

env = flyte.TaskEnvironment(name="children")

WIDTH = 1000
CONCURRENCY = 64
PLAIN = "plain Ray"

PREFECT = """
import time
from prefect import flow, task

@task
def nothing(number: int) -> int:
    return number

@flow
def parent(width: int) -> float:
    began = time.perf_counter()
    numbers = [each.result() for each in nothing.map(range(width))]
    assert numbers == list(range(width))
    return time.perf_counter() - began

parent(10)
print("seconds", parent({width}))
"""
FLYTE = """
import asyncio, time
import flyte

env = flyte.TaskEnvironment(name="children")

@env.task
async def nothing(number: int) -> int:
    return number

@env.task
async def parent(width: int) -> float:
    began = time.perf_counter()
    numbers = await asyncio.gather(*(nothing(number) for number in range(width)))
    assert numbers == list(range(width))
    return time.perf_counter() - began

local = flyte.with_runcontext(mode="local")
local.run(parent, 10)
print("seconds", local.run(parent, {width}).outputs()[0])
"""
PEERS = {"Prefect, its own engine": ("prefect", PREFECT), "Flyte 2, local mode": ("flyte", FLYTE)}


@env.task
def nothing(number: int) -> int:
    return number


@env.task
async def gathering(width: int) -> float:
    began = time.perf_counter()
    numbers = await asyncio.gather(*(nothing.aio(number) for number in range(width)))
    assert numbers == list(range(width))
    return time.perf_counter() - began


@env.task
async def grouping(width: int) -> float:
    began = time.perf_counter()
    with flyte.group("all of them"):
        numbers = await asyncio.gather(*(nothing.aio(number) for number in range(width)))
    assert numbers == list(range(width))
    return time.perf_counter() - began


@env.task
def mapping(width: int) -> float:
    began = time.perf_counter()
    numbers = list(flyte.map(nothing, range(width)))
    assert numbers == list(range(width))
    return time.perf_counter() - began


@env.task
def mapping_many(inputs: int) -> dict[str, float]:
    """MiB that this process has grown by at most while it maps, and seconds."""
    before = most = _resident()
    began = time.perf_counter()
    results = flyte.map(nothing, iter(range(inputs)), concurrency=CONCURRENCY, return_exceptions=False)
    for number, result in enumerate(results):
        assert number == result
        if number % 1000 == 0:
            most = max(most, _resident())
    seconds = time.perf_counter() - began
    return {"MiB": (max(most, _resident()) - before) / 2**20, "seconds": seconds}


def plain_nothing(number: int) -> int:
    return number


def plain_parent(width: int) -> float:
    import ray  # with flyteray it is not the user's to import

    child = ray.remote(plain_nothing)
    began = time.perf_counter()
    numbers = ray.get([child.remote(number) for number in range(width)])
    assert numbers == list(range(width))
    return time.perf_counter() - began


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _recorded(parent: Callable[..., object], width: int) -> float:
    """Seconds that a parent takes for its children, each of which is found in the run's actions afterwards."""
    run = flyte.run(parent, width)
    seconds: float = run.outputs()[0]
    harness.until(lambda: len(run.actions()) == width + 1, timeout_s=60)
    return seconds


@contextlib.contextmanager
def _peers() -> Iterator[dict[str, Callable[[], float]]]:
    """Those of the peers that can be installed here, each in an environment of its own."""
    measures: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory(prefix="flyteray-bench-") as folder:
        for name, (package, script) in PEERS.items():
            place = Path(folder, package)
            python = place / "bin" / "python"
            harness.progress(f"installing {package}")
            made = [
                [sys.executable, "-m", "venv", str(place)],
                [str(python), "-m", "pip", "install", "-q", package],
            ]
            try:
                for command in made:
                    subprocess.run(command, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                harness.progress(
                    f"{name} is left out, as it can't be installed: {error.stderr.strip()[-300:]}"
                )
                continue
            measures[name] = lambda python=python, script=script: _of_script(python, script, folder)  # type: ignore[misc]
        yield measures


def _of_script(python: Path, script: str, folder: str) -> float:
    """Seconds that a script has measured; not a number where it fails, as its own engine may on a busy machine."""
    prefect = {"PREFECT_HOME": folder, "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300"}
    home = {"HOME": folder, "PREFECT_LOGGING_LEVEL": "CRITICAL", "PATH": os.environ["PATH"], **prefect}
    code = script.replace("{width}", str(WIDTH))
    done = subprocess.run(
        [str(python), "-c", code], env=home, cwd=folder, check=False, capture_output=True, text=True
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("seconds ")]
    if done.returncode or not told:
        harness.progress(f"it failed: {done.stderr.strip()[-500:]}")
        return math.nan
    return float(told[0].split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="rounds; medians are shown (default: 5)")
    parser.add_argument("--inputs", type=int, default=100_000, help="of the large map (default: 100,000)")
    parser.add_argument("--alone", action="store_true", help="leave Prefect and Flyte out")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=2), contextlib.ExitStack() as stack:
        import ray  # deferred: the tasks above import this module in workers of their own

        plain = ray.remote(plain_parent)
        measures: dict[str, Callable[[], float]] = {
            "gather": lambda: _recorded(gathering, WIDTH),
            "map": lambda: _recorded(mapping, WIDTH),
            "group": lambda: _recorded(grouping, WIDTH),
            PLAIN: lambda: float(ray.get(plain.remote(WIDTH))),
        }
        peers = {} if given.alone else stack.enter_context(_peers())
        harness.progress("warming up: workers start, code is loaded")
        flyte.init()
        for measure in measures.values():
            measure()
        samples: dict[str, list[float]] = {name: [] for name in (*measures, *peers)}
        for number in range(given.repeat):
            for name, measure in (measures | (peers if number == 0 else {})).items():
                samples[name].append(measure())
                harness.progress(f"round {number + 1}: {name}: {samples[name][-1]:.3f} s")
        before = _resident()
        run = flyte.run(mapping_many, given.inputs)
        run.wait(quiet=True)
        grown = run.outputs()[0]
        driver = (_resident() - before) / 2**20

    middle = {name: median(values) for name, values in samples.items()}
    rows: list[list[object]] = [
        [name, middle[name], min(samples[name]), max(samples[name]), middle[name] / middle[PLAIN]]
        for name in samples
    ]
    harness.report(
        "children",
        f"{WIDTH} children that do nothing, in seconds. A map over {given.inputs} inputs, {CONCURRENCY} at a time: "
        f"{grown['seconds']:.0f} s, the parent grew by {grown['MiB']:.1f} MiB, the driver by {driver:.1f} MiB",
        ["", "median s", "least", "most", "times plain Ray"],
        rows,
        {"seconds": samples, "medians": middle, "large_map": {**grown, "driver_MiB": driver}},
    )


if __name__ == "__main__":
    main()
