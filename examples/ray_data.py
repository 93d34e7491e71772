"""Go through data with Ray Data in a task: it works in pieces, in parallel, and the task reserves no CPU for itself.

    python examples/ray_data.py

A task runs on Ray, so that Ray Data is there at once. The CPUs are for its workers: with `Resources(cpu=0)` the task,
which only waits for them, takes none, and they are counted once.
"""

from __future__ import annotations

import numpy as np
import ray.data

import flyteray as flyte

env = flyte.TaskEnvironment(name="sensors", resources=flyte.Resources(cpu=0))


def in_celsius(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"celsius": (batch["fahrenheit"] - 32) / 1.8}


@env.task
def hottest(readings: np.ndarray) -> float:
    rows = ray.data.from_numpy(readings).rename_columns({"data": "fahrenheit"})
    return float(rows.map_batches(in_celsius).max("celsius"))


def main() -> None:
    readings = np.linspace(50.0, 86.0, 100_000)
    print(f"Hottest: {flyte.run(hottest, readings).outputs()[0]:.1f} degrees Celsius")


if __name__ == "__main__":
    main()
