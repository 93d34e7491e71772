"""How long does the first request to an app wait that has no replica, and are any lost?

    python -m benchmarks.from_zero --repeat 3

An app that sleeps is asked once; the seconds until its answer begins, beside those of a request when it is awake, and
beside the same application as a plain Ray Serve deployment that autoscales from zero, through Serve's proxy. Then
clients that never pause all begin when it sleeps: every answer must be a 200.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx

import flyteray as flyte
from benchmarks import harness
from flyteray.remote import App

SOURCE = """
from fastapi import FastAPI
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
app = FastAPIAppEnvironment(name="sleeper", app=api, scaling=Scaling(scaledown_after=0))

@api.get("/")
async def root() -> str:
    return "awake"

@api.post("/")
async def create() -> str:
    return "awake"
"""
PATIENCE_S = 60.0


def plain() -> None:
    """The same as a deployment of Serve, which goes to zero as soon as it can."""
    from fastapi import FastAPI
    from ray import serve  # with flyteray it is not the user's to import

    api = FastAPI()
    scaling = {
        "min_replicas": 0,
        "max_replicas": 1,
        "initial_replicas": 1,
        "downscale_delay_s": 3,
        "downscale_to_zero_delay_s": 3,
        "metrics_interval_s": 1,
        "look_back_period_s": 3,
    }

    @serve.deployment(autoscaling_config=scaling, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Plain:
        @api.get("/")
        async def root(self) -> str:
            return "awake"

    application: Any = Plain  # what the decorators have made of it
    serve.run(application.bind(), name="plain", route_prefix="/")


def plain_sleeps() -> bool:
    from ray import serve

    deployments = serve.status().applications["plain"].deployments.values()
    return not any(sum(each.replica_states.values()) for each in deployments)


def sleeps() -> bool:
    info = App.get("sleeper").info
    return info.asleep and info.ready_replicas == 0


def first_byte(url: str) -> float:
    """Seconds until the answer begins, on a connection of its own."""
    began = time.perf_counter()
    with httpx.stream("GET", url, timeout=PATIENCE_S) as response:
        response.raise_for_status()
        return time.perf_counter() - began


def crowd(url: str, clients: int, seconds: float) -> Counter[str]:
    """What clients are answered that never pause, GET and POST in turn."""
    answers: Counter[str] = Counter()
    over = time.perf_counter() + seconds

    def ask() -> None:
        with httpx.Client(timeout=PATIENCE_S) as client:
            while time.perf_counter() < over:
                for method in ("GET", "POST"):
                    try:
                        answers[str(client.request(method, url).status_code)] += 1
                    except httpx.TransportError as error:
                        answers[type(error).__name__] += 1

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are shown (default: 3)")
    parser.add_argument("--clients", type=int, default=20, help="that begin while it sleeps (default: 20)")
    parser.add_argument("--seconds", type=float, default=10, help="for which they ask (default: 10)")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=2), tempfile.TemporaryDirectory() as folder:
        from ray import serve  # deferred: with flyteray it is not the user's to import

        harness.connect()
        port = harness.free_port()
        # Before flyteray starts Serve without proxies: Serve has one set of them for all.
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        plain()
        Path(folder, "sleeper_app.py").write_text(SOURCE)
        sys.path.insert(0, folder)
        url = f"{flyte.serve(importlib.import_module('sleeper_app').app).endpoint}/"
        peers: dict[str, tuple[str, Callable[[], bool]]] = {
            "flyteray": (url, sleeps),
            "plain Serve": (f"http://127.0.0.1:{port}/", plain_sleeps),
        }
        samples: dict[str, list[float]] = {}
        for number in range(given.repeat):
            for name, (address, is_asleep) in peers.items():
                harness.until(is_asleep, timeout_s=120, poll_s=0.2)
                for state in ("from zero", "awake"):
                    seconds = first_byte(address)
                    samples.setdefault(f"{name}, {state}", []).append(seconds)
                    harness.progress(f"round {number + 1}: {name}, {state}: {seconds:.3f} s")
        harness.until(sleeps, timeout_s=120, poll_s=0.2)
        answers = crowd(url, given.clients, given.seconds)
        harness.progress(f"{given.clients} clients: {dict(answers)}")

    failed = answers.total() - answers["200"]
    rows = [[name, median(each), min(each), max(each)] for name, each in samples.items()]
    harness.report(
        "from_zero",
        f"Of {given.clients} clients from zero {answers['200']} requests were answered, {failed} failed",
        ["first byte of one request", "median s", "least", "most"],
        rows,
        {"seconds": samples, "answers": dict(answers)},
    )


if __name__ == "__main__":
    main()
