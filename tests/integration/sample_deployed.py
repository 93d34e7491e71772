"""Tasks and an app that are deployed, and used by name. Which environment variable is set makes another version."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import Domain, Link, Scaling, Timeouts
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import Run, Task

env = flyte.TaskEnvironment(name="deployed")
api = FastAPI()
app = FastAPIAppEnvironment(
    name="starter",
    app=api,
    domain=Domain(subdomain="start", custom_domain="starter.example.com"),
    links=[Link("/status", "Status", is_relative=True)],
    timeouts=Timeouts(request=60),
    scaling=Scaling((1, 2), Scaling.Concurrency(2), scaledown_after=1),
    depends_on=[env],
)
same_domain = FastAPIAppEnvironment(name="rival", app=api, domain=Domain(custom_domain="starter.example.com"))


class Recipe:
    """A link that a call gives a task."""

    name = "Recipe"

    def get_link(self, *, action_name: str, **_: Any) -> str:
        return f"http://recipes/{action_name}"


@env.task(entrypoint=True)
def scale(x: int, by: int = 10) -> int:
    """Multiply."""
    return x * by


@env.task
async def asks_by_name(x: int, version: str) -> list[Any]:
    latest = Task.get("deployed.scale", auto_version="latest")
    named = Task.get("deployed.scale", version=version)
    refused = []
    for wrong in ({"y": 1}, {}, {"x": "text"}):
        try:
            await latest(**wrong)
        except (TypeError, ValueError, flyte.errors.BaseRuntimeError) as error:
            refused.append(type(error).__name__ if not hasattr(error, "code") else error.code)
    try:
        await latest(x)
    except flyte.errors.RemoteTaskUsageError as error:
        refused.append(type(error).__name__)
    changed = await latest.override.aio(env_vars={"FLAVOUR": "mint"}, links=Recipe())
    return [
        await latest(x=x),
        await asyncio.gather(*(named(x=n, by=2) for n in range(3))),
        await changed(x=1),
        refused,
    ]


@env.task
async def maps_by_name(numbers: list[int]) -> list[Any]:
    """Maps a deployed task: plainly, by ``aio`` and as a partial."""
    task = Task.get("deployed.scale", auto_version="latest")
    plain = list(flyte.map(task, numbers, return_exceptions=False))
    both = [each async for each in flyte.map.aio(task, numbers, [2, 3])]
    try:
        flyte.map(task, numbers, numbers, numbers)
    except TypeError as error:
        return [plain, both, list(flyte.map(functools.partial(task, by=4), numbers)), str(error)]
    return [plain, both]


@env.task
async def asks_for_its_own_version(x: int) -> list[Any]:
    task = Task.get("deployed.scale", auto_version="current")
    return [task.version, flyte.ctx().version, await task(x=x)]


@env.task
def outlives(started: str, go_on: str) -> str:
    Path(started).touch()
    while not Path(go_on).exists():
        time.sleep(0.05)
    return "done"


@env.task
def own_endpoint() -> str:
    return app.endpoint


@api.get("/scale/{x}")
async def scale_by_name(x: int) -> dict[str, int]:
    run = await flyte.run.aio(Task.get("deployed.scale", auto_version="latest"), x=x)
    return {"scaled": (await run.outputs.aio())[0]}


@api.get("/scale-sync/{x}")
def scale_by_name_sync(x: int) -> dict[str, int]:
    return {"scaled": flyte.run(Task.get("deployed.scale", auto_version="latest"), x).outputs()[0]}


@api.get("/start")
async def start(started: str, go_on: str) -> str:
    run: Run = await flyte.run.aio(outlives, started=started, go_on=go_on)
    return run.name


@api.get("/busy")
async def busy() -> None:
    await asyncio.sleep(0.3)


@api.get("/status")
def status() -> dict[str, int]:
    return {"pid": os.getpid()}
