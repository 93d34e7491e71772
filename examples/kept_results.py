"""Compute once what many runs need: results of tasks that are kept.

    python examples/kept_results.py
    flyteray get cache prices.clean
    flyteray delete cache prices.clean

A task with `cache="auto"` is not run where it was run before on inputs of the same content with the same code, be it
in another run or in local mode. `Cache(...)` says more: which inputs make no difference, how old a result may be, what
the state of the code is called, whether of equal calls at one time only one is made.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import numpy as np

import flyteray as flyte

env = flyte.TaskEnvironment(name="prices")


@env.task(cache="auto")
async def clean(prices: np.ndarray) -> np.ndarray:
    """Take out what can't be: a result of these prices by content, until this function's text changes."""
    print(f"cleaning {len(prices)} prices")
    return prices[(prices > 0) & (prices < 1000)]


@env.task(cache=flyte.Cache("auto", ignored_inputs="verbose", max_age=timedelta(hours=1), serialize=True))
async def mean(prices: np.ndarray, verbose: bool = False) -> float:
    """Of equal calls at one time one computes, and for an hour nobody else does."""
    return float((await clean(prices)).mean())


@env.task
async def compare(prices: np.ndarray) -> list[float]:
    return list(await asyncio.gather(*(mean(prices, verbose=bool(number % 2)) for number in range(4))))


def main() -> None:
    prices = np.array([12.0, -1.0, 14.0, 99999.0, 16.0])
    runs = [flyte.run(compare, prices) for _ in range(2)]
    print("Means:   ", [run.outputs()[0] for run in runs])
    first, again = (flyte.run(mean, prices) for _ in range(2))
    print("Computed:", first.cached or "here", "| reused:", bool(again.cached), again.outputs()[0])
    anew = flyte.with_runcontext(overwrite_cache=True).run(mean, prices)
    print("Anew:    ", anew.cached is None, anew.outputs()[0])


if __name__ == "__main__":
    main()
