"""Apps for the tests of serving. What differs between versions is read from the environment when it is declared."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

import flyteray as flyte
from flyteray.app import AppEnvironment, Parameter, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import File
from tests.integration import sample_tasks

api = FastAPI()
callers = flyte.TaskEnvironment(name="callers")


def version_of_hello(greeting: str, name: str = "hello") -> FastAPIAppEnvironment:
    return FastAPIAppEnvironment(
        name=name,
        app=api,
        parameters=[Parameter("greeting", value=greeting, env_var="GREETING")],
        scaling=Scaling(replicas=1),
    )


hello = version_of_hello("hi")
first_change = version_of_hello("one")
second_change = version_of_hello("two")
broken = FastAPIAppEnvironment(name="hello", app=api, env_vars={"BROKEN": "1"}, scaling=Scaling(replicas=1))
one, two, failing = (version_of_hello(greeting, "divided") for greeting in ("one", "two", "failing"))
live, likely, unlikely = (version_of_hello(greeting, "shadowed") for greeting in ("one", "two", "failing"))
large, larger = (
    FastAPIAppEnvironment(
        name="large",
        app=api,
        parameters=[Parameter("greeting", value=greeting, env_var="GREETING")],
        resources=flyte.Resources(cpu=2),  # all that there are
        scaling=Scaling(replicas=1),
    )
    for greeting in ("large", "larger")
)
broken_two = FastAPIAppEnvironment(
    name="divided", app=api, env_vars={"BROKEN": "1"}, scaling=Scaling(replicas=1)
)
broken_with_file = replace(
    broken_two, parameters=[Parameter("code", value=File[str](path=__file__), download=True)]
)
broken_shadow = FastAPIAppEnvironment(
    name="shadowed", app=api, env_vars={"BROKEN": "1"}, scaling=Scaling(replicas=1)
)
plain = AppEnvironment(name="plain", port=8099, scaling=Scaling(replicas=1))


@broken.on_startup
@broken_two.on_startup
@broken_with_file.on_startup
@broken_shadow.on_startup
def explode() -> None:
    raise RuntimeError("startup exploded")


@api.get("/")
def root() -> dict[str, Any]:
    if get_parameter("greeting") == "failing":
        raise RuntimeError("this version fails")
    return {"greeting": get_parameter("greeting"), "variable": os.environ["GREETING"], "pid": os.getpid()}


@api.get("/file")
def file() -> str:
    made: File[str] = File.new_remote("note.txt")
    with made.open_sync("w") as stream:
        stream.write("from a handler")
    return made.path


@api.get("/double/{x}")
async def double(x: int) -> dict[str, int]:
    run = await flyte.run.aio(sample_tasks.double, x)
    return {"doubled": (await run.outputs.aio())[0]}


@api.get("/double-sync/{x}")
def double_sync(x: int) -> dict[str, int]:
    return {"doubled": flyte.run(sample_tasks.double, x).outputs()[0]}


@callers.task
def where() -> str:
    return hello.endpoint


@api.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"{number}\n".encode()
            await asyncio.sleep(0.2)

    return StreamingResponse(parts())


@api.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"{get_parameter('greeting')} {text}")


@plain.server
async def serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nplain")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 8099)
    await server.serve_forever()
