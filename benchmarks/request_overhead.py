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
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import httpx
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
trivial = FastAPIAppEnvironment(name="trivial", app=api, scaling=Scaling(replicas=1))

TARGETS = {"Ray Serve, default proxy": 8.0, "Ray Serve, HAProxy mode": 2.0, "uvicorn alone": 0.5}
OURS = "flyteray"
CONNECTIONS = (1, 32)
# Its frontend, stats, metrics and fallback ports bind all interfaces whatever it is told.
HAPROXY_MODE = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


@api.get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


def serve_plainly(port: int) -> None:
    """A process with a Ray of its own: Serve reads its mode from the environment when Ray starts."""
    import ray  # with flyteray it is not the user's to import
    from ray import serve

    @serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Trivial:
        pass

    application: Any = Trivial  # what the decorators have made of it
    ray.init(
        num_cpus=2,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=os.environ["BENCHMARK_TEMP"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application.bind(), name="trivial", route_prefix="/")
    sys.stdin.read()  # until the benchmark is done
    serve.shutdown()
    ray.shutdown()


@contextlib.contextmanager
def plain_serve(**mode: str) -> Iterator[str]:
    """Ray Serve in the mode that Ray's own variables ask for."""
    port = harness.free_port()
    # Short: Ray's sockets are in it, and a path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="rs-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "BENCHMARK_TEMP": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            **mode,
        }
        command = [sys.executable, "-m", "benchmarks.request_overhead", "--serve-plainly", str(port)]
        with _process(command, environment):
            yield f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def uvicorn_alone() -> Iterator[str]:
    port = harness.free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.request_overhead:api", f"--port={port}"]
    with _process([*command, "--no-access-log", "--log-level=warning"], dict(os.environ)):
        yield f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        assert child.stdin is not None
        try:
            yield
        except BaseException:
            log.seek(0)
            harness.progress(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            child.stdin.close()
            if "uvicorn" in command:
                child.terminate()
            child.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="of load a sample (default: 4)")
    parser.add_argument("--repeat", type=int, default=2, help="rounds (default: 2)")
    parser.add_argument("--serve-plainly", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve_plainly:
        serve_plainly(given.serve_plainly)
    else:
        compare(given.seconds, given.repeat)


def compare(seconds: float, repeat: int) -> None:
    harness.require_wrk()
    with harness.local_cluster(num_cpus=2), contextlib.ExitStack() as stack:
        harness.progress("starting the peers")
        urls = {OURS: f"{flyte.serve(trivial).endpoint}/"}
        urls["Ray Serve, default proxy"] = stack.enter_context(plain_serve())
        urls["Ray Serve, HAProxy mode"] = stack.enter_context(plain_serve(**HAPROXY_MODE))
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
