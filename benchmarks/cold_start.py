"""How soon does an app answer that the cluster has never seen, and how soon has it a second replica?

    python -m benchmarks.cold_start --repeat 3

From ``flyteray.serve`` of code that is new to a warm cluster to the first 200 through the ingress; beside it the same
application by plain ``serve.run``, whose code every worker can import already, to the first 200 through Serve's proxy.
Then a second replica of an app that imports scikit-learn: from when it is asked for to its first answer, with a spare
process and without; beside it one of a plain deployment that imports the same.
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
import psutil

import flyteray as flyte
from benchmarks import harness
from flyteray.app import Scaling
from flyteray.remote import App

SOURCE = """
import os

IMPORTS
from fastapi import FastAPI
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
app = FastAPIAppEnvironment(name="cold", app=api, scaling=Scaling(replicas=1))

@api.get("/")
async def root() -> dict[str, str | int]:
    return {"version": "VERSION", "pid": os.getpid()}
"""
IMPORTS = "import sklearn.ensemble, sklearn.linear_model"
PATIENCE_S = 10.0
CALM = 15.0  # percent of the processors that may be busy when a measurement begins


@contextlib.contextmanager
def new_module(imports: str = "") -> Iterator[Any]:
    """A module that nobody has seen before, importable by this process only."""
    name = f"cold_{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{name}.py").write_text(SOURCE.replace("VERSION", name).replace("IMPORTS", imports))
        sys.path.insert(0, folder)
        try:
            yield importlib.import_module(name)
        finally:
            sys.path.remove(folder)


def calm_down() -> None:
    """Wait, for seconds, until nothing runs that was measured before: processes that end, or that are made to wait."""
    until = time.perf_counter() + PATIENCE_S
    while psutil.cpu_percent(interval=1.0) > CALM and time.perf_counter() < until:
        pass


def with_flyteray(client: httpx.Client) -> float:
    with new_module() as module:
        calm_down()
        began = time.perf_counter()
        app = flyte.serve(module.app)
        harness.until(lambda: harness.answers(client, f"{app.endpoint}/"), timeout_s=60)
        took = time.perf_counter() - began
    App.delete(app.name)
    return took


def second_with_flyteray(client: httpx.Client, spare: int) -> float:
    with new_module(IMPORTS) as module:
        module.app.scaling = Scaling(replicas=1, spare=spare)
        app = flyte.serve(module.app)
        calm_down()
        module.app.scaling = Scaling(replicas=2, spare=spare)
        began = time.perf_counter()
        flyte.serve(module.app)
        await_two(client, f"{app.endpoint}/")
        took = time.perf_counter() - began
    App.delete(app.name)
    return took


def plain(imports: bool) -> Any:
    """The same as a deployment of Serve."""
    from fastapi import FastAPI
    from ray import serve  # with flyteray it is not the user's to import

    api = FastAPI()

    @serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Cold:
        def __init__(self) -> None:
            if imports:
                import sklearn.ensemble
                import sklearn.linear_model  # noqa: F401

        @api.get("/")
        async def root(self) -> dict[str, str | int]:
            import os

            return {"version": "plain", "pid": os.getpid()}

    application: Any = Cold  # what the decorators have made of it
    return application.bind()


def plainly(client: httpx.Client, port: int) -> float:
    from ray import serve  # with flyteray it is not the user's to import

    application = plain(imports=False)
    calm_down()
    began = time.perf_counter()
    serve.run(application, name="cold-plain", route_prefix="/")
    harness.until(lambda: harness.answers(client, f"http://127.0.0.1:{port}/"), timeout_s=60)
    took = time.perf_counter() - began
    serve.delete("cold-plain")
    return took


def second_plainly(client: httpx.Client, port: int) -> float:
    import ray
    from ray import serve  # with flyteray it is not the user's to import
    from ray.serve._private.common import DeploymentID

    serve.run(plain(imports=True), name="cold-plain", route_prefix="/", external_scaler_enabled=True)
    calm_down()
    began = time.perf_counter()
    # What Serve's own HTTP API does; serve.run would replace the first one as well.
    controller = serve.context._get_global_client()._controller
    ray.get(controller.update_deployment_replicas.remote(DeploymentID("Cold", "cold-plain"), 2))
    await_two(client, f"http://127.0.0.1:{port}/")
    took = time.perf_counter() - began
    serve.delete("cold-plain")
    return took


def await_two(client: httpx.Client, url: str) -> None:
    """Ask until another process answers than the one that does at first."""
    first = client.get(url).json()["pid"]
    harness.until(lambda: client.get(url).json()["pid"] != first, timeout_s=60)


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
            "second replica, spare=1": lambda: second_with_flyteray(client, spare=1),
            "second replica": lambda: second_with_flyteray(client, spare=0),
            "plain second replica": lambda: second_plainly(client, port),
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

    plain_first, plain_second = (
        median(samples[name]) for name in ("plain serve.run", "plain second replica")
    )
    rows = [
        [
            name,
            median(each),
            min(each),
            max(each),
            median(each) / (plain_second if "second" in name else plain_first),
        ]
        for name, each in samples.items()
    ]
    harness.report(
        "cold_start",
        "A new FastAPI application on a warm cluster, and a second replica of one that imports scikit-learn: seconds "
        "to the first 200",
        ["by", "median s", "least", "most", "of plain"],
        rows,
        {"seconds": samples},
    )


if __name__ == "__main__":
    main()
