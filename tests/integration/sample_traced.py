"""An app and tasks whose traces are collected, and a program that asks for them: ``python file WHAT[=GIVEN] ...``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import httpx
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry import propagate, trace

import flyteray
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

users = trace.get_tracer("users")
env = flyteray.TaskEnvironment("traced", resources=flyteray.Resources(cpu=0.1))
kept = flyteray.TaskEnvironment("traced-kept", cache="auto", resources=flyteray.Resources(cpu=0.1))
pool = flyteray.TaskEnvironment(
    "traced-pool",
    reusable=flyteray.ReusePolicy(replicas=1, idle_ttl=30, concurrency=2),
    resources=flyteray.Resources(cpu=0.1),
)
api: Any = FastAPI(telemetry={"tracing": False})  # it may make spans of its own


@flyteray.trace
async def looked_up(number: int) -> int:
    with users.start_as_current_span("looked up"):
        return number


@env.task
async def square(number: int) -> int:
    return await looked_up(number) ** 2


@env.task
async def total(count: int) -> int:
    with users.start_as_current_span("adds"):
        return sum(await asyncio.gather(*(square(number) for number in range(count))))


@env.task
def double(number: int) -> int:
    return 2 * number


@env.task
def mapped(count: int) -> list[Any]:
    return list(flyteray.map(double, range(count)))


@env.task(retries=1)
def flaky() -> int:
    context = flyteray.ctx()
    assert context is not None
    if context.attempt_number == 0:
        raise ValueError("the first time")
    return 1


@env.task(retries=1)
def ends_itself() -> int:
    context = flyteray.ctx()
    assert context is not None
    if context.attempt_number == 0:
        os._exit(3)
    return 1


@env.task
def has_flaky() -> int:
    return (
        ends_itself() + flaky()
    )  # in this order: a process that ends itself takes along what it has not sent


@env.task
def fails() -> int:
    raise KeyError("always")


@pool.task
async def warm(number: int) -> int:
    return number


@env.task
async def has_warm() -> int:
    return sum(await asyncio.gather(*(warm(number) for number in range(4))))


@kept.task
def known(number: int) -> int:
    return number


@kept.task(cache="disable")
def has_known() -> int:
    return known(1) + known(1)


@env.task
def asks_app(endpoint: str) -> str:
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return httpx.get(f"{endpoint}/header", headers=headers).json()["traceparent"]


@api.get("/total/{count}")
async def total_of(count: int) -> int:
    run = await flyteray.run.aio(total, count)
    await run.wait.aio()
    return (await run.outputs.aio())[0]


@api.get("/header")
async def header() -> dict[str, str]:
    headers: dict[str, str] = {}
    with users.start_as_current_span("in a handler"):
        propagate.inject(headers)
    return headers


@api.get("/broken")
async def broken() -> None:
    raise KeyError("in a handler")


@api.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> Any:
        for number in range(3):
            await asyncio.sleep(0.05)
            yield f"{number}\n"

    return StreamingResponse(lines())


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


def app(name: str = "traced-app") -> FastAPIAppEnvironment:
    return FastAPIAppEnvironment(
        name=name,
        app=api,
        scaling=Scaling(replicas=1),
        resources=flyteray.Resources(cpu=0.1),
        depends_on=[env],
    )


traced_app = app()


def main(what: str, argument: str) -> list[str]:
    """Serve the app and say where it is, or run a task and say its run's name and what became of it."""
    if what == "serve":
        return [flyteray.serve(traced_app).endpoint]
    if what == "local-app":
        served = flyteray.with_servecontext(mode="local").serve(traced_app)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        told = httpx.get(f"{served.endpoint}/header", headers={"traceparent": parent}).json()["traceparent"]
        served.deactivate()
        return [told]
    mode: Any = "local" if what.startswith("local-") else "remote"
    task = globals()[what.removeprefix("local-")]
    given = [int(argument) if argument.isdecimal() else argument] if argument else []
    run = flyteray.with_runcontext(mode=mode).run(task, *given)
    run.wait()
    failed = getattr(run, "phase", None) and run.phase.name != "SUCCEEDED"
    return [run.name, run.phase.name if failed else str(run.outputs()[0])]


if __name__ == "__main__":
    for word in sys.argv[1:]:
        name, _, given = word.partition("=")
        print(json.dumps([name, main(name, given)]), flush=True)
