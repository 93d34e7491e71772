"""Tasks that take arrays and other values with large buffers, for the tests of how these travel."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import Task
from flyteray.storage.copy_on_write import writable

env = flyte.TaskEnvironment(name="values")
MB = 2**17  # float64s in a megabyte


@dataclass
class Weights:
    name: str
    values: np.ndarray


class Tensor:
    """As tensors do it: pickled it is made anew from its memory."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Tensor, (pickle.PickleBuffer(self.memory),)


@env.task
def total(values: np.ndarray) -> float:
    return float(values.sum())


@env.task
def given(value: Any) -> Any:
    return value


@env.task
def written_to(values: np.ndarray) -> None:
    values[0] = 1


@env.task
def written_to_a_copy(values: np.ndarray) -> list[Any]:
    """What of an array another one sees that was made of its memory and written to, and whether it was copied."""
    mine = writable(memoryview(values).cast("B"))
    mine[:8] = np.ones(1).tobytes()
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [
        values[0].item(),
        np.frombuffer(mine)[0].item(),
        not any("rw-p" in each and "plasma" in each for each in maps),
    ]


@env.task
def zeros() -> np.ndarray:
    return np.zeros(3 * MB)


@env.task
def give_zeros() -> list[Any]:
    return written_to_a_copy(zeros())


@env.task
def described(values: np.ndarray) -> list[Any]:
    return [values.shape, str(values.dtype), values.flags.f_contiguous, values.flags.writeable]


@env.task
def summed(weights: Weights, scale: np.ndarray = np.full(3, 2.0)) -> float:  # noqa: B008 # a default
    return float(weights.values.sum() * scale.sum())


@env.task
def size(tensor: Tensor) -> int:
    return memoryview(tensor.memory).nbytes


@env.task
def backing(values: np.ndarray) -> list[Any]:
    """The sum, and the file that this process has the values from."""
    at = values.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, _, end = line.partition(" ")[0].partition("-")
        if int(first, 16) <= at < int(end, 16):
            return [float(values.sum()), line.split(maxsplit=5)[-1]]
    raise LookupError(at)


@env.task(retries=1)
def total_at_second_attempt(values: np.ndarray, marker: str) -> float:
    if not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("once")
    return float(values.sum())


@env.task
async def hands_on(values: np.ndarray) -> list[float]:
    """To a child, to a run of its own, and to a deployed task."""
    deployed = Task.get("values.total", auto_version="latest")
    run = await flyte.run.aio(total, values)
    return [await total.aio(values), (await run.outputs.aio())[0], await deployed(values=values)]


@dataclass
class Config:
    rate: float
    parts: list[Weights] | None = None


@env.task
def rate(config: Config) -> float:
    return config.rate


@env.task
def configured(rate: Any) -> Config:
    return {"rate": rate}  # type: ignore[return-value] # as users do


@env.task
async def rates() -> list[Any]:
    """Of a child and of a deployed task, which are given dicts; and what a child returned as one."""
    deployed = Task.get("values.rate", auto_version="latest")
    given: Any = {"rate": 0.5}
    return [await rate.aio(given), await deployed(config=given), await configured.aio(0.25)]


@env.task
def waits_for(path: str, values: np.ndarray) -> float:
    import time

    while not Path(path).exists():
        time.sleep(0.05)
    return float(values.sum())


api = FastAPI()
app = FastAPIAppEnvironment(name="relays-values", app=api)


@api.get("/total")
async def ask(megabytes: int) -> float:
    run = await flyte.run.aio(total, np.ones(megabytes * MB) if megabytes else np.ones(3))
    value: float = (await run.outputs.aio())[0]
    return value
