"""User code that a type checker must accept, with the types that it must find."""

import asyncio
import functools
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI
from typing_extensions import assert_type

import flyteray
from flyteray import Resources, RetryStrategy, TaskEnvironment
from flyteray.app import AppEnvironment, Parameter, Port, RunOutput, Scaling
from flyteray.app.extras import FastAPIAppEnvironment

env = TaskEnvironment("calc", resources=Resources(cpu=2, memory="1Gi"), env_vars={"A": "1"})


@env.task
def double(x: int, plus: float = 0.0) -> float:
    return 2 * x + plus


@env.task
async def triple(x: int) -> int:
    return 3 * x


@env.task(short_name="big", retries=RetryStrategy(3))
async def configured(x: int) -> str:
    return str(x)


@env.task(retries=3)
def configured_sync(x: int) -> str:
    return str(x)


async def parent() -> None:
    assert_type(double(3), float)
    assert_type(await double.aio(3, plus=1.0), float)
    assert_type(await triple(3), int)
    assert_type(await triple.aio(3), int)
    assert_type(await configured(3), str)
    assert_type(configured_sync(3), str)
    coroutine: Coroutine[Any, Any, int] = triple(3)
    assert_type(await coroutine, int)
    assert_type(double.forward(3), float)
    assert_type(await triple.forward(3), int)
    both = await asyncio.gather(triple(1), double.aio(2))
    assert_type(both, tuple[int, float])
    assert_type(list(flyteray.map(double, [1, 2])), list[float | Exception])
    assert_type(list(flyteray.map(triple, [1], concurrency=2, return_exceptions=False)), list[int])
    assert_type([each async for each in flyteray.map.aio(triple, [1])], list[int | Exception])
    with_two = functools.partial(double, plus=2.0)
    assert_type(
        [each async for each in flyteray.map.aio(with_two, [1], return_exceptions=False)], list[float]
    )
    assert_type(await triple.override(resources=Resources(cpu=4))(3), int)


api = FastAPI()
served = FastAPIAppEnvironment(name="api", app=api, port=8000)
app = AppEnvironment(
    "plain",
    [env, served],
    port=Port(8080),
    scaling=Scaling((1, 3)),
    parameters=[Parameter("model", RunOutput(type="object", task_name="calc.triple"))],
)
assert_type(app.port, Port)
assert_type(app.endpoint, str)


@app.server
def serve(model: object) -> None: ...


serve(object())
flyteray.run(triple, 3)
flyteray.run(double, x=3)
flyteray.with_runcontext(mode="local").run(configured, 3)
