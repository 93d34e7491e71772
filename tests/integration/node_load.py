"""A client of its own process that asks at a steady rate, whatever the answers, and says in JSON what came of it.

``node_load.py SECONDS RATE PATIENCE URL...``: each URL is asked RATE times a second, for so long or until stdin ends,
and who asks waits PATIENCE seconds for an answer. A first line says when it has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import httpx
import websockets

_MOST_UNANSWERED = 300  # by one machine: with thousands that hang the client itself would be slow


async def ask(client: httpx.AsyncClient, url: str, method: str, answers: list[dict[str, Any]]) -> None:
    began = time.time()
    try:
        answer = await client.request(method, url)
        told = {"status": answer.status_code, "by": answer.headers.get("x-node", "")}
    except httpx.HTTPError as error:
        told = {"status": 0, "error": repr(error)}
    answers.append({"url": url, "method": method, "at": began, "took": time.time() - began, **told})


async def talk(url: str, patience: float, ended: asyncio.Event, talks: list[dict[str, Any]]) -> None:
    """Keep a WebSocket open, and note when it was cut, if it was; then another one is opened."""
    while not ended.is_set():
        told: dict[str, Any] = {"url": url, "node": "", "began": time.time(), "cut": None}
        talks.append(told)
        try:
            async with websockets.connect(url, ping_interval=None) as socket:
                told["node"] = str(await socket.recv())
                while not ended.is_set():
                    await socket.send("x")
                    await asyncio.wait_for(socket.recv(), patience)
                    await asyncio.sleep(0.2)
        except Exception as error:  # noqa: BLE001  # whatever it was, it is told
            told |= {"cut": time.time(), "error": repr(error)}
            await asyncio.sleep(0.2)


async def main(seconds: float, rate: float, patience: float, urls: list[str]) -> None:
    answers: list[dict[str, Any]] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, ended.set)
    loop.add_reader(sys.stdin, ended.set)
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=50)
    async with contextlib.AsyncExitStack() as stack:
        # One for each: those who wait for a machine that is gone hold up nobody who asks another one.
        clients = {
            url: await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=patience))
            for url in urls
        }
        print("begun", flush=True)
        talks: list[dict[str, Any]] = []
        talking = [
            asyncio.create_task(talk(url.replace("http", "ws", 1) + "/ws", patience, ended, talks))
            for url in urls
            for _ in range(4)
        ]
        asking: dict[str, set[asyncio.Task[None]]] = {url: set() for url in urls}
        number = 0
        while not ended.is_set():
            for url in urls:
                number += 1
                if len(asking[url]) >= _MOST_UNANSWERED:
                    continue
                method = "POST" if number % 10 == 0 else "GET"
                path = "/slow" if number % 7 == 0 else "/who"
                asking[url].add(task := asyncio.create_task(ask(clients[url], url + path, method, answers)))
                task.add_done_callback(asking[url].discard)
            await asyncio.sleep(1 / rate)
        loop.remove_reader(sys.stdin)
        await asyncio.gather(*(task for tasks in asking.values() for task in tasks))
        await asyncio.gather(*talking)
        print(json.dumps({"answers": answers, "talks": talks}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:4]), sys.argv[4:]))
