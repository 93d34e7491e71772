"""What does a result that is reused cost, where the input is a large array?

    python -m benchmarks.cache_hit --mib 1024 --repeat 7

An input counts by its content, so that a hit looks at all of it: that pass is what it may cost. It is measured in the
same rounds, on the same array and in the same process: a driver that runs the task and has its result, and a running
task that calls it. The pass is xxh3, the fastest hash that there is for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import xxhash

import flyteray as flyte
from benchmarks import harness

env = flyte.TaskEnvironment(name="cache-hit")

TARGET = 1.5  # times the pass


@env.task(cache="auto")
def mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean())


@env.task
def measured(values: np.ndarray[Any, Any], rounds: int) -> list[tuple[float, float]]:
    """Seconds of a pass and of a call whose result is there, by rounds."""
    mean(values)
    return [
        (_timed(lambda: xxhash.xxh3_128_digest(values)), _timed(lambda: mean(values))) for _ in range(rounds)
    ]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def reused(values: np.ndarray[Any, Any]) -> None:
    """Run the task and have its result."""
    run = flyte.run(mean, values)
    assert run.cached is not None
    run.outputs()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the input (default: 1024)")
    parser.add_argument("--repeat", type=int, default=7, help="rounds; medians are shown (default: 7)")
    given = parser.parse_args()
    values = np.random.default_rng(7).random(given.mib * 2**20 // 8)

    with harness.local_cluster(num_cpus=2):
        flyte.init()
        harness.progress("computing the result once")
        flyte.run(mean, values).wait(quiet=True)
        samples: dict[str, list[tuple[float, float]]] = {"driver": [], "parent": []}
        reused(values)
        for number in range(given.repeat):
            pair = _timed(lambda: xxhash.xxh3_128_digest(values)), _timed(lambda: reused(values))
            samples["driver"].append(pair)
            harness.progress(f"round {number + 1}: pass {pair[0] * 1000:.0f} ms, hit {pair[1] * 1000:.0f} ms")
        samples["parent"] = flyte.run(measured, values, given.repeat).outputs()[0]

    rows = []
    for name, pairs in samples.items():
        passes, hits = zip(*pairs, strict=True)
        ratio = median(hit / once for once, hit in pairs)
        rows.append([f"{name}, {given.mib} MiB", median(passes) * 1000, median(hits) * 1000, ratio])
    harness.report(
        "cache_hit",
        f"A call whose result is kept, beside one pass of xxh3 over its input (target: at most {TARGET} times)",
        ["who asks", "pass ms", "hit ms", "times the pass"],
        rows,
        {"seconds": samples},
    )


if __name__ == "__main__":
    main()
