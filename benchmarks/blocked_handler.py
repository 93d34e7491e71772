"""Whom does a handler harm that blocks its event loop for half a minute?

    python -m benchmarks.blocked_handler --seconds 30

Two apps on one cluster, the first with two replicas. A client asks each of them for its root at a steady rate, every
request in a thread of its own, so that none waits for the one before it. Then a handler in one replica of the first app
calls ``time.sleep``. Requests that the ingress had sent to that replica before it was known to be blocked wait with it;
they are counted. All others, of both apps, are compared with the calm before.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

import flyteray as flyte
from benchmarks import harness
from flyteray.remote import App

RATE = 20.0  # requests a second to each app
LONG_S = 1.0  # slower ones have waited for the blocked replica
SOURCE = """
import os, time
from fastapi import FastAPI
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
blocking = FastAPIAppEnvironment(name="blocking", app=api, scaling=Scaling(replicas=2))
other = FastAPIAppEnvironment(name="other", app=api, scaling=Scaling(replicas=1))

@api.get("/")
async def root() -> int:
    return os.getpid()

@api.get("/block/{seconds}")
async def block(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
"""


@dataclass(frozen=True)
class Sample:
    """A request: when it was sent and how long it took, in seconds, and the process that answered."""

    sent: float
    took: float
    pid: int


def ask(client: httpx.Client, url: str) -> Sample:
    began = time.perf_counter()
    pid = int(client.get(url).raise_for_status().json())
    return Sample(began, time.perf_counter() - began, pid)


def steadily(
    pool: ThreadPoolExecutor, client: httpx.Client, urls: Sequence[str], seconds: float
) -> list[list[Sample]]:
    """Ask each URL ``RATE`` times a second; the samples of each."""
    asked: list[list[Future[Sample]]] = [[] for _ in urls]
    began = time.perf_counter()
    for number in range(math.ceil(seconds * RATE)):
        time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        for futures, url in zip(asked, urls, strict=True):
            futures.append(pool.submit(ask, client, url))
    return [[future.result() for future in futures] for futures in asked]


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

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with (
        harness.local_cluster(num_cpus=2),
        httpx.Client(timeout=120, limits=limits) as client,
        ThreadPoolExecutor(256) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        Path(folder, "blocked_apps.py").write_text(SOURCE)
        sys.path.insert(0, folder)
        module = importlib.import_module("blocked_apps")
        apps = [flyte.serve(module.blocking), flyte.serve(module.other)]
        urls = [f"{app.endpoint}/" for app in apps]
        harness.progress("warm-up")
        steadily(pool, client, urls, 3)
        harness.progress(f"calm for {blocks_s:g} s")
        calm = steadily(pool, client, urls, blocks_s)
        harness.progress(f"blocked for {blocks_s:g} s")
        blocked = pool.submit(ask, client, f"{apps[0].endpoint}/block/{blocks_s}")
        busy = steadily(pool, client, urls, blocks_s)
        pid = blocked.result().pid
        back = harness.until(lambda: ask(client, urls[0]).pid == pid, timeout_s=30)
        for app in apps:
            App.delete(app.name)

    waited = [sample for sample in busy[0] if sample.pid == pid and sample.took > LONG_S]
    unaffected = [sample for sample in busy[0] if sample.pid != pid]
    last = max((sample.sent for sample in waited), default=busy[0][0].sent) - busy[0][0].sent
    rows = [
        row("the app", "calm", calm[0], 0),
        row("its other replica", "one blocked", unaffected, len(waited)),
        row("the other app", "calm", calm[1], 0),
        row("the other app", "one blocked", busy[1], 0),
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
