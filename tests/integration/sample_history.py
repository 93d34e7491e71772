"""Tasks whose history is looked at."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np

import flyteray as flyte

env = flyte.TaskEnvironment(name="history", resources=flyte.Resources(cpu=0.2))


@env.task
def double(x: int) -> int:
    print(f"doubles {x}")
    return 2 * x


@env.task
def mean(values: np.ndarray) -> float:
    return float(values.mean())


@env.task(retries=flyte.RetryStrategy(1, flyte.Backoff(timedelta(0))))
def unlucky(x: int) -> int:
    raise ValueError(f"not {x}")


@env.task
async def family(x: int, size: int) -> tuple[int, float]:
    with flyte.group("twice"):
        doubled = await double.aio(await double.aio(x))
    return doubled, await mean.aio(np.full(size, 2.0))


@env.task
async def doomed(x: int) -> int:
    await double.aio(x)
    return await unlucky.aio(x)


@env.task
async def facts() -> tuple[datetime | None, datetime | None, str, str, str]:
    here = flyte.ctx()
    assert here.code_bundle is not None
    below = await started.aio()
    return here.run_start_time, below, here.output_path, here.run_base_dir, here.code_bundle.computed_version


@env.task
def started() -> datetime | None:
    return flyte.ctx().run_start_time


@env.task
def loud() -> None:
    print("from Python")
    subprocess.run(["sh", "-c", "echo from a program; echo to the other stream >&2"], check=True)
    sys.stdout.write("without an end")


class Board(flyte.Link):
    name = "Board"

    def get_link(
        self,
        run_name: str,
        project: str,
        domain: str,
        context: dict[str, str],
        parent_action_name: str,
        action_name: str,
        pod_name: str,
        **kwargs: object,
    ) -> str:
        return f"https://board/{run_name}/{parent_action_name}/{action_name}?{context.get('team')}"


class Broken(Board):
    name = "Broken"

    def get_link(self, *args: object, **kwargs: object) -> str:
        raise LookupError("no board")


@env.task(links=(Board(), Broken()))
async def linked(depth: int) -> int:
    return await linked(depth - 1) if depth else 0


@env.task
async def sleeps() -> None:
    await asyncio.sleep(600)


@env.task
async def outlives_its_child() -> str:
    try:
        await sleeps()
    except flyte.errors.ActionAbortedError as error:
        return f"{error.code}: {error}"
    return "It slept."
