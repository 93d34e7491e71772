"""How soon does an app answer that the cluster has never seen?

    python -m benchmarks.cold_start --repeat 3

From ``flyteray.serve`` of code that is new to a warm cluster to the first 200 through the ingress; beside it the same
application by plain ``serve.run``, whose code every worker can import already, to the first 200 through Serve's proxy.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
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
app = FastAPIAppEnvironment(name="cold", app=api, scaling=Scaling(replicas=1))

@api.get("/")
async def root() -> dict[str, str]:
    return {"version": "VERSION"}
"""


@contextlib.contextmanager
def new_module() -> Iterator[str]:
    """A module that nobody has seen before, importable by this process only."""
    name = f"cold_{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{name}.py").write_text(SOURCE.replace("VERSION", name))
        sys.path.insert(0, folder)
        try:
            yield name
        finally:
            sys.path.remove(folder)


def with_flyteray(client: httpx.Client) -> float:
    with new_module() as name:
        module = importlib.import_module(name)
        began = time.perf_counter()
        app = flyte.serve(module.app)
        harness.until(lambda: harness.answers(client, f"{app.endpoint}/"), timeout_s=60)
        took = time.perf_counter() - began
    App.delete(app.name)
    return took


def plainly(client: httpx.Client, port: int) -> float:
    from fastapi import FastAPI
    from ray import serve  # with flyteray it is not the user's to import

    api = FastAPI()

    @serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Cold:
        @api.get("/")
        async def root(self) -> dict[str, str]:
            return {"version": "plain"}

    application: Any = Cold  # what the decorators have made of it
    began = time.perf_counter()
    serve.run(application.bind(), name="cold-plain", route_prefix="/")
    harness.until(lambda: harness.answers(client, f"http://127.0.0.1:{port}/"), timeout_s=60)
    took = time.perf_counter() - began
    serve.delete("cold-plain")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are shown (default: 3)")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=2), httpx.Client(timeout=5) as client:
        from ray import serve  # deferred: with flyteray it is not the user's to import

        harness.connect()
        port = harness.free_port()
        # Before flyteray starts Serve without proxies: Serve has one set of them for all.
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        measures: dict[str, Callable[[], float]] = {
            "flyteray.serve": lambda: with_flyteray(client),
            "plain serve.run": lambda: plainly(client, port),
        }
        samples: dict[str, list[float]] = {name: [] for name in measures}
        for number in range(-1, given.repeat):
            for name, measure in measures.items():
                seconds = measure()
                harness.progress(
                    f"round {number + 1}{' (warm-up)' if number < 0 else ''}: {name}: {seconds:.2f} s"
                )
                if number >= 0:
                    samples[name].append(seconds)

    rows = [[name, median(each), min(each), max(each)] for name, each in samples.items()]
    harness.report(
        "cold_start",
        "A new FastAPI application on a warm cluster: seconds to the first 200",
        ["by", "median s", "least", "most"],
        rows,
        {"seconds": samples},
    )


if __name__ == "__main__":
    main()
