"""Refuse early what an app can't do in time: limits.

    python examples/enough_to_do.py

Thirty ask at once for something that takes half a second. Two are served at a time and two may wait, so each answer
takes a second at most; the others are told at once to come again, and by which limit, instead of waiting for eight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import httpx
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import Limits, Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
kitchen = FastAPIAppEnvironment(
    name="kitchen", app=api, scaling=Scaling(1), limits=Limits(concurrency=2, queue=2, body=1000)
)


@api.post("/cook")
async def cook() -> str:
    await asyncio.sleep(0.5)
    return "a soup"


async def ask(client: httpx.AsyncClient) -> tuple[int, float]:
    began = time.monotonic()
    answer = await client.post("/cook", json={})
    return answer.status_code, time.monotonic() - began


async def crowd(endpoint: str) -> None:
    async with httpx.AsyncClient(base_url=endpoint, timeout=60) as client:
        answers = await asyncio.gather(*(ask(client) for _ in range(30)))
        counted = Counter(status for status, _ in answers)
        slowest_s = max(took for status, took in answers if status == 200)
        print(f"Served:   {counted[200]}, the slowest after less than 3 s: {slowest_s < 3}")
        print(f"Refused:  {counted[429]}, of 30: {counted[200] + counted[429] == 30}")
        large = await client.post("/cook", content="x" * 2000, headers={"Accept": "application/json"})
        print(f"Too much: {large.status_code} {large.json()}")


def main() -> None:
    served = flyte.serve(kitchen)
    asyncio.run(crowd(served.endpoint))


if __name__ == "__main__":
    main()
