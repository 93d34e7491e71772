"""How long does a call of a warm task take, beside a plain call of a Ray actor? And does a chain of calls end?

    python -m benchmarks.reuse

Both are called one after the other by one task, a few hundred times, in turns; then 50 tasks call each other in a pool
of two.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import ray

import flyteray as flyte
from benchmarks import harness

env = flyte.TaskEnvironment(name="reuse-bench", reusable=flyte.ReusePolicy(replicas=2, idle_ttl=60))
caller = flyte.TaskEnvironment(name="reuse-caller")
ROUNDS, CALLS = 10, 50


@env.task
def warm(x: int) -> int:
    return x


@env.task
def chain(depth: int) -> int:
    return 1 if depth == 1 else 1 + chain(depth - 1)


@ray.remote(num_cpus=0)
class Plain:
    def call(self, x: int) -> int:
        return x


@caller.task
def measure() -> dict[str, list[float]]:
    actor: Any = Plain.remote()
    seconds: dict[str, list[float]] = {"plain": [], "warm": []}
    warm(0)
    ray.get(actor.call.remote(0))
    for _ in range(ROUNDS):
        for number in range(CALLS):
            began = time.perf_counter()
            ray.get(actor.call.remote(number))
            seconds["plain"].append(time.perf_counter() - began)
        for number in range(CALLS):
            began = time.perf_counter()
            warm(number)
            seconds["warm"].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure and report."""
    with harness.local_cluster(num_cpus=2):
        flyte.init()
        samples: dict[str, list[float]] = flyte.run(measure).outputs()[0]
        began = time.perf_counter()
        depth = flyte.run(chain, 50).outputs()[0]
        seconds = time.perf_counter() - began
    middle = {name: statistics.median(values) for name, values in samples.items()}
    rows = [
        [name, middle[name] * 1000, min(values) * 1000, max(values) * 1000, middle[name] / middle["plain"]]
        for name, values in samples.items()
    ]
    harness.report(
        "reuse",
        f"Calls one after the other; a chain of {depth} in a pool of two took {seconds:.1f} s",
        ["call", "median ms", "least", "most", "times plain Ray"],
        rows,
        {"seconds": samples, "medians": middle, "chain_s": seconds},
    )


if __name__ == "__main__":
    main()
