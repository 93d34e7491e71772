"""How many requests a second get through flyteray's ingress, beside what a user would pick instead?

    python -m benchmarks.request_overhead --seconds 4 --repeat 2

The same trivial FastAPI application with one replica behind: flyteray's ingress; Ray Serve's default proxy; Ray Serve's
HAProxy mode with its throughput options; nothing (uvicorn alone). Peers are measured one after another in rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import httpx
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness, plain_serve
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
trivial = FastAPIAppEnvironment(name="trivial", app=api, scaling=Scaling(replicas=1))

TARGETS = {"Ray Serve, default proxy": 8.0, "Ray Serve, HAProxy mode": 2.0, "uvicorn alone": 0.5}
OURS = "flyteray"
MODULE = "benchmarks.request_overhead"
CONNECTIONS = (1, 32)
# Its frontend, stats, metrics and fallback ports bind all interfaces whatever it is told.
HAPROXY_MODE = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


@api.get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


def application() -> Any:
    """What plain Serve serves."""
    from ray import serve  # with flyteray it is not the user's to import

    @serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Trivial:
        pass

    made: Any = Trivial  # what the decorators have made of it
    return made.bind()


@contextlib.contextmanager
def uvicorn_alone() -> Iterator[str]:
    port = harness.free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.request_overhead:api", f"--port={port}"]
    quiet = [*command, "--no-access-log", "--log-level=warning"]
    with plain_serve.child(quiet, dict(os.environ), terminate=True):
        yield f"http://127.0.0.1:{port}/"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="of load a sample (default: 4)")
    parser.add_argument("--repeat", type=int, default=2, help="rounds (default: 2)")
    parser.add_argument(plain_serve.OPTION, type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve_plainly:
        plain_serve.run(application(), given.serve_plainly)
    else:
        compare(given.seconds, given.repeat)


def compare(seconds: float, repeat: int) -> None:
    harness.require_wrk()
    with harness.local_cluster(num_cpus=2), contextlib.ExitStack() as stack:
        harness.progress("starting the peers")
        urls = {OURS: f"{flyte.serve(trivial).endpoint}/"}
        urls["Ray Serve, default proxy"] = f"{stack.enter_context(plain_serve.plain_serve(MODULE))}/"
        urls["Ray Serve, HAProxy mode"] = (
            f"{stack.enter_context(plain_serve.plain_serve(MODULE, **HAPROXY_MODE))}/"
        )
        urls["uvicorn alone"] = stack.enter_context(uvicorn_alone())
        with httpx.Client() as client:
            for url in urls.values():
                harness.until(functools.partial(harness.answers, client, url), timeout_s=120)
        samples = _measure(urls, seconds, repeat)

    def rate(peer: str, connections: int) -> float:
        return float(median(load["requests_per_s"] for load in samples[peer][connections]))

    rows = []
    for peer in samples:
        few, many = (samples[peer][connections] for connections in CONNECTIONS)
        ratio = rate(OURS, 32) / rate(peer, 32)
        target = TARGETS.get(peer)
        rows.append(
            [
                peer,
                rate(peer, 1),
                median(load["p50_ms"] for load in few),
                " / ".join(f"{load['requests_per_s']:,.0f}" for load in many),
                median(load["p99_ms"] for load in many),
                sum(load["failed"] for load in few + many),
                "" if target is None else f"{ratio:.2f}x (target {target:g}x)",
            ]
        )
    harness.report(
        "request_overhead",
        f"A trivial FastAPI application, 1 replica each; wrk for {seconds:g} s, {repeat} rounds",
        [
            "through",
            "req/s, 1 conn.",
            "p50 ms",
            "req/s, 32 conn. by round",
            "p99 ms",
            "failed",
            "flyteray is",
        ],
        rows,
        {"samples": samples, "targets_at_32_connections": TARGETS},
    )


def _measure(urls: dict[str, str], seconds: float, repeat: int) -> dict[str, dict[int, list[dict[str, Any]]]]:
    samples: dict[str, dict[int, list[dict[str, Any]]]] = {
        peer: {connections: [] for connections in CONNECTIONS} for peer in urls
    }
    for url in urls.values():
        harness.wrk(url, 32, 1)  # warm-up
    for number in range(repeat):
        for connections in CONNECTIONS:
            for peer, url in urls.items():
                load = harness.wrk(url, connections, seconds)
                samples[peer][connections].append(vars(load))
                harness.progress(f"round {number + 1}, {connections} connections, {peer}: {load}")
                time.sleep(0.2)  # what the last one left to do
    return samples


if __name__ == "__main__":
    main()
