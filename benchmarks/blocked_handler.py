"""Whom does a handler harm that blocks its event loop for half a minute?

    python -m benchmarks.blocked_handler --seconds 30

Two apps on one cluster, the first with two replicas. A client, a process of its own, asks both at a steady rate without
waiting for answers: each for its root, which answers at once, and the second app also for 50 ms of work, as a model
would need. Then a handler in one replica of the first app calls ``time.sleep``. Requests that the ingress had sent to
that replica before it was known to be blocked wait with it; they are counted. All others are compared with the calm
before.

An answer at once takes 2 to 3 ms, most of it the client's own: on a machine that does anything else some of them take
twice that, in the calm as well, so compare their numbers. 50 ms of work show what a user would notice.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

import flyteray as flyte
from benchmarks import harness
from flyteray.remote import App

RATE = 20.0  # requests a second to each URL
LONG_S = 1.0  # slower ones have waited for the blocked replica
SOURCE = """
import asyncio, os, time
from fastapi import FastAPI
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
blocking = FastAPIAppEnvironment(name="blocking", app=api, scaling=Scaling(replicas=2))
other = FastAPIAppEnvironment(name="other", app=api, scaling=Scaling(replicas=1))

@api.get("/")
async def root() -> int:
    return os.getpid()

@api.get("/work")
async def work() -> int:
    await asyncio.sleep(0.05)
    return os.getpid()

@api.get("/block/{seconds}")
async def block(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
"""


@dataclass(frozen=True)
class Sample:
    """A request: when it was sent, in seconds since the first, how long it took, and the process that answered."""

    sent: float
    took: float
    pid: int


async def ask(client: httpx.AsyncClient, url: str, began: float) -> Sample:
    sent = time.perf_counter()
    pid = int((await client.get(url)).raise_for_status().json())
    return Sample(sent - began, time.perf_counter() - sent, pid)


async def ask_all(urls: Sequence[str], seconds: float) -> list[list[Sample]]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        for url in urls:  # what the first request costs is no matter here
            await ask(client, url, 0.0)
        asked: list[list[asyncio.Task[Sample]]] = [[] for _ in urls]
        began = time.perf_counter()
        for number in range(math.ceil(seconds * RATE)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            for place, (tasks, url) in enumerate(zip(asked, urls, strict=True)):
                await asyncio.sleep(place and 0.01)  # or the client alone would make them wait for each other
                tasks.append(asyncio.create_task(ask(client, url, began)))
        return [[await task for task in tasks] for tasks in asked]


def steadily(urls: Sequence[str], seconds: float) -> list[list[Sample]]:
    """Ask each URL ``RATE`` times a second; the samples of each."""
    return asyncio.run(ask_all(urls, seconds))


def milliseconds(samples: Sequence[Sample], share: float) -> float:
    """The ``share`` quantile."""
    ordered = sorted(sample.took for sample in samples)
    return 1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def row(name: str, when: str, samples: Sequence[Sample], waited: int) -> list[object]:
    took = 1000 * median(sample.took for sample in samples)
    slow = sum(1 for sample in samples if 1000 * sample.took > 2 * took)
    return [
        f"{name}, {when}",
        len(samples),
        took,
        milliseconds(samples, 0.99),
        milliseconds(samples, 1),
        slow,
        waited,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="how long the handler blocks (default: 30)")
    given = parser.parse_args()
    blocks_s = min(given.seconds, 30.0)  # beyond that the replica is replaced

    with (
        harness.local_cluster(num_cpus=2),
        httpx.Client(timeout=120) as client,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as clients,
        tempfile.TemporaryDirectory() as folder,
    ):
        Path(folder, "blocked_apps.py").write_text(SOURCE)
        sys.path.insert(0, folder)
        module = importlib.import_module("blocked_apps")
        apps = [flyte.serve(module.blocking), flyte.serve(module.other)]
        root, block = f"{apps[0].endpoint}/", f"{apps[0].endpoint}/block/{blocks_s}"
        urls = [root, f"{apps[1].endpoint}/", f"{apps[1].endpoint}/work"]
        harness.progress("warm-up")
        for warmed in [clients.submit(steadily, urls, 3) for _ in range(2)]:
            warmed.result()
        harness.progress(f"calm for {blocks_s:g} s")
        calm = clients.submit(steadily, urls, blocks_s).result()
        harness.progress(f"blocked for {blocks_s:g} s")
        asked = clients.submit(steadily, urls, blocks_s)
        pid = int(client.get(block).raise_for_status().json())
        busy = asked.result()
        back = harness.until(lambda: int(client.get(root).json()) == pid, timeout_s=30)
        for app in apps:
            App.delete(app.name)

    waited = [sample for sample in busy[0] if sample.pid == pid and sample.took > LONG_S]
    unaffected = [sample for sample in busy[0] if sample.pid != pid]
    last = max((sample.sent for sample in waited), default=0.0)
    rows = [
        row("the app", "calm", calm[0], 0),
        row("its other replica", "one blocked", unaffected, len(waited)),
        row("the other app", "calm", calm[1], 0),
        row("the other app", "one blocked", busy[1], 0),
        row("its 50 ms of work", "calm", calm[2], 0),
        row("its 50 ms of work", "one blocked", busy[2], 0),
    ]
    harness.report(
        "blocked_handler",
        f"A handler blocks one of two replicas for {blocks_s:g} s: milliseconds of a request at {RATE:g} requests/s",
        ["requests to", "count", "median", "p99", "most", "beyond 2x median", "waited with it"],
        rows,
        {
            "last_sent_to_it_s": last,
            "served_again_after_s": back,
            "took_s": {
                "calm": [[sample.took for sample in each] for each in calm],
                "blocked": [[sample.took for sample in each] for each in busy],
            },
        },
    )
    harness.progress(
        f"The last request that the blocked replica got was sent {last:.2f} s after it was blocked."
    )


if __name__ == "__main__":
    main()
