"""What does flyteray add to a task call that plain Ray makes?

    python -m benchmarks.task_overhead --repeat 5

A running parent calls children that do nothing: one after another, and 1,000 at once. The same parent is written with
flyteray (every call is an action: checked, recorded, retryable, its error restored) and with plain ``ray.remote``.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from statistics import median

import flyteray as flyte
from benchmarks import harness

env = flyte.TaskEnvironment(name="task-overhead")

CALLS = 200
WIDTH = 1000


@env.task
def nothing(number: int) -> int:
    return number


@env.task
def blocking(calls: int) -> list[float]:
    """Seconds of each call of a sync parent."""
    return [_timed(lambda: nothing(0)) for _ in range(calls)]


@env.task
async def awaiting(calls: int) -> list[float]:
    """Seconds of each call of an async parent."""
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        await nothing.aio(0)
        seconds.append(time.perf_counter() - began)
    return seconds


@env.task
async def gathering(width: int) -> list[float]:
    """Seconds of calling many children at once."""
    began = time.perf_counter()
    numbers = await asyncio.gather(*(nothing.aio(number) for number in range(width)))
    assert numbers == list(range(width))
    return [time.perf_counter() - began]


def plain_nothing(number: int) -> int:
    return number


def plain_blocking(calls: int) -> list[float]:
    import ray  # with flyteray it is not the user's to import

    child = ray.remote(plain_nothing)
    return [_timed(lambda: ray.get(child.remote(0))) for _ in range(calls)]


def plain_gathering(width: int) -> list[float]:
    import ray

    child = ray.remote(plain_nothing)
    began = time.perf_counter()
    numbers = ray.get([child.remote(number) for number in range(width)])
    assert numbers == list(range(width))
    return [time.perf_counter() - began]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="rounds; medians are shown (default: 5)")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=2):
        import ray  # deferred: the tasks above import this module in workers of their own

        def plainly(parent: Callable[[int], list[float]], count: int) -> float:
            return float(median(ray.get(ray.remote(parent).remote(count))))

        def with_flyteray(parent: flyte.Task, count: int) -> float:  # type: ignore[type-arg]
            return float(median(flyte.run(parent, count).outputs()[0]))

        measures: dict[str, Callable[[], float]] = {
            "latency, blocking call": lambda: with_flyteray(blocking, CALLS),
            "latency, awaited call": lambda: with_flyteray(awaiting, CALLS),
            "latency, plain Ray": lambda: plainly(plain_blocking, CALLS),
            "fan-out, gather": lambda: with_flyteray(gathering, WIDTH),
            "fan-out, plain Ray": lambda: plainly(plain_gathering, WIDTH),
        }
        harness.progress("warming up: workers start, code is loaded")
        flyte.init()
        for measure in measures.values():
            measure()
        samples: dict[str, list[float]] = {name: [] for name in measures}
        for number in range(given.repeat):
            for name, measure in measures.items():
                samples[name].append(measure())
                harness.progress(f"round {number + 1}: {name}: {samples[name][-1] * 1000:.2f} ms")

    middle = {name: median(values) for name, values in samples.items()}
    rows = [
        [
            name,
            middle[name] * 1000,
            min(samples[name]) * 1000,
            max(samples[name]) * 1000,
            middle[name] / middle[f"{name.partition(',')[0]}, plain Ray"],
        ]
        for name in measures
    ]
    harness.report(
        "task_overhead",
        f"Child calls of a running task: {CALLS} one by one (median), {WIDTH} at once (all)",
        ["measure", "median ms", "least", "most", "times plain Ray"],
        rows,
        {"seconds": samples, "medians": middle},
    )


if __name__ == "__main__":
    main()
