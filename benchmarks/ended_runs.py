"""Does every run end, however its code is left, and leave nothing behind?

    python -m benchmarks.ended_runs --count 100

For each input that many runs in a row, on two cores: tasks that leave by a side door, whose failure can hardly be told,
or that wait for plain Ray tasks while others do. What counts is what remains: runs that are still queued, CPUs that
are still taken, clients that still wait. Plain Ray tasks that fail are timed beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import psutil

import flyteray as flyte
from benchmarks import harness
from flyteray.remote import ActionPhase, Run

env = flyte.TaskEnvironment(name="ended-runs")

PATIENCE_S = 120.0
AT_ONCE = 4  # on two cores: each waits for tasks that need what the others hold


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@env.task
def leaves(how: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int)
    match how:
        case "sys.exit":
            sys.exit("bad configuration")
        case "argparse":
            parser.parse_args(["--rounds", "many"])
        case "GeneratorExit":
            raise GeneratorExit
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "CancelledError":
            raise asyncio.CancelledError
        case "os._exit":
            os._exit(3)
        case "surrogate":
            raise ValueError("bad \udc80 text")
        case "__str__ raises":
            raise Unspeakable
    return 0


@env.task
async def leaves_async(how: str) -> int:
    return int(leaves.func(how))


@env.task
def waits_plainly() -> int:
    import ray  # with flyteray it is not the user's to import

    child = ray.remote(num_cpus=1)(plain_one)
    return sum(ray.get([child.remote() for _ in range(3)]))


def plain_one() -> int:
    return 1


def plain_failure() -> None:
    raise ValueError("plain")


LEFT = (
    "sys.exit",
    "argparse",
    "GeneratorExit",
    "KeyboardInterrupt",
    "CancelledError",
    "surrogate",
    "__str__ raises",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100, help="runs of each input (default: 100)")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=2):
        import ray  # deferred: the tasks above import this module in workers of their own

        flyte.init()

        def ends(phase: ActionPhase, task: Any, *inputs: Any) -> Callable[[int], None]:
            def end(number: int) -> None:
                runs = [flyte.run(task, *inputs) for _ in range(number)]
                for run in runs:
                    run.wait(quiet=True)
                    assert run.phase is phase, run

            return end

        def plainly(_: int) -> None:
            ref = ray.remote(plain_failure).remote()
            assert isinstance(_error(lambda: ray.get(ref)), ValueError)

        measures: dict[str, tuple[int, Callable[[int], None]]] = {
            **{how: (1, ends(ActionPhase.FAILED, leaves, how)) for how in LEFT},
            **{f"{how}, async": (1, ends(ActionPhase.FAILED, leaves_async, how)) for how in LEFT},
            "four wait for plain tasks": (AT_ONCE, ends(ActionPhase.SUCCEEDED, waits_plainly)),
            "a failing plain Ray task": (1, plainly),
            "os._exit": (
                1,
                ends(ActionPhase.FAILED, leaves, "os._exit"),
            ),  # each in four workers: it is tried again
        }
        rows, samples = [], {}
        for name, (width, measure) in measures.items():
            harness.progress(f"{name}: {given.count}")
            measure(width)  # workers start, code is loaded
            seconds = []
            for _ in range(max(1, given.count // width)):
                began = time.perf_counter()
                measure(width)
                seconds.append(time.perf_counter() - began)
            samples[name] = seconds
            queued = [run.name for run in Run.listall(limit=10_000) if not run.phase.is_terminal]
            freed = harness.until(lambda: ray.available_resources().get("CPU") == 2.0, PATIENCE_S)
            rows.append([name, len(seconds) * width, median(seconds) * 1000, len(queued), freed, _busy()])
    harness.report(
        "ended_runs",
        "Runs in a row, and what is left after them",
        ["how it ends", "runs", "median ms", "still queued", "s until CPUs are free", "busy processes"],
        rows,
        {"seconds": samples},
    )


def _error(function: Callable[[], Any]) -> BaseException | None:
    try:
        function()
    except Exception as error:  # noqa: BLE001  # it is asked which
        return error
    return None


def _busy() -> int:
    """How many workers of the cluster compute although nothing is to do."""
    workers = [each for each in psutil.process_iter() if each.name().startswith("ray::")]
    for worker in workers:
        worker.cpu_percent()
    time.sleep(2)
    return sum(worker.is_running() and worker.cpu_percent() > 50 for worker in workers)


if __name__ == "__main__":
    main()
