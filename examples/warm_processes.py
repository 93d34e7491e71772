"""Load a model once for many calls: warm processes, which an environment keeps for its tasks.

    python examples/warm_processes.py

With a `ReusePolicy` calls go to processes that are there already. What a module has loaded is there for the next call
and for the next run, until nobody has called for `idle_ttl`. A task may call tasks of its own environment, and these
others: one that waits gives its place to those that it waits for.
"""

from __future__ import annotations

import functools
import os
import time

import numpy as np

import flyteray as flyte

warm = flyte.TaskEnvironment(
    name="embedder",
    reusable=flyte.ReusePolicy(replicas=(1, 2), idle_ttl=60, scaledown_ttl=30),
)
plain = flyte.TaskEnvironment(name="readers")


@functools.cache
def model() -> np.ndarray:
    """Load what takes long: once in each process."""
    print(f"loading the model in process {os.getpid()}")
    time.sleep(1)
    return np.random.default_rng(0).normal(size=(256, 8))


@warm.task
def embed(text: str) -> tuple[int, list[float]]:
    """The process, and the mean of the letters' vectors."""
    vectors = model()[np.frombuffer(text.encode(), dtype=np.uint8)]
    return os.getpid(), [round(float(each), 3) for each in vectors.mean(axis=0)]


@warm.task
def fold(texts: list[str]) -> int:
    """Each call makes the next one in the same pool: a chain that is longer than there are processes."""
    embed(texts[0])
    return 1 + (fold(texts[1:]) if texts[1:] else 0)


@plain.task
def read(texts: list[str]) -> tuple[list[int], float]:
    """The processes that were met, and the milliseconds that a call took in the middle."""
    pids, times = set(), []
    for text in texts:
        began = time.perf_counter()
        pid, _ = embed(text)
        pids.add(pid)
        times.append(time.perf_counter() - began)
    return sorted(pids), sorted(times)[len(times) // 2] * 1000


def main() -> None:
    texts = [f"This is line {number}." for number in range(100)]
    first, milliseconds = flyte.run(read, texts).outputs()
    print(f"Embedded: 100 lines in {len(first)} process(es), {milliseconds:.1f} ms each in the middle")
    again, _ = flyte.run(read, texts).outputs()
    print("Again:    loaded before:", bool({*first} & {*again}))
    print("Folded:  ", flyte.run(fold, texts[:10]).outputs()[0], "deep")


if __name__ == "__main__":
    main()
