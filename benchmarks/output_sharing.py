"""How soon can three replicas read a task's large output, and how much memory does each take for it?

    python -m benchmarks.output_sharing --mib 1024 --repeat 2

The same weights reach three replicas on one machine as an object, from Ray's object store, and as a file: the task
returns a pickled ``File``, which is downloaded once for the node and unpickled by each replica. An app without
parameters shows what a replica takes by itself.

Two times are shown: the delivery, from the moment at which a replica begins to resolve its parameters until it has the
array, and the whole ``serve()``, which includes starting three processes.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness, replicas
from flyteray.app import AppEnvironment, Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import File

env = flyte.TaskEnvironment(name="output-sharing")
api = FastAPI()
REPLICAS = 3
three = Scaling(replicas=REPLICAS)
empty = FastAPIAppEnvironment(name="empty", app=api, scaling=three)
by_object = FastAPIAppEnvironment(
    name="by-object",
    app=api,
    scaling=three,
    parameters=[Parameter("weights", RunOutput(type="object", task_name="output-sharing.as_object"))],
)
by_file = FastAPIAppEnvironment(
    name="by-file",
    app=api,
    scaling=three,
    # A mount, so that the file is fetched as from a bucket; without one a local path is used in place.
    parameters=[
        Parameter("weights", RunOutput(type="file", task_name="output-sharing.as_file"), mount="weights.pkl")
    ],
)
APPS: dict[str, AppEnvironment] = {"nothing": empty, "object": by_object, "file": by_file}

state: dict[str, Any] = {}


def weights(mib: int) -> dict[str, Any]:
    generator = np.random.default_rng(7)
    return {"w": generator.random(mib * 2**18, dtype=np.float32), "name": "random"}


@env.task
def as_object(mib: int) -> dict[str, Any]:
    return weights(mib)


@env.task
def as_file(mib: int) -> File[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pkl")
        with path.open("wb") as file:
            pickle.dump(weights(mib), file, protocol=5)
        return File.from_local_sync(path)


@empty.on_startup
def load_nothing() -> None:
    _readable(np.zeros(1024, dtype=np.float32))


@by_object.on_startup
def load_object() -> None:
    _readable(get_parameter("weights")["w"])


@by_file.on_startup
def load_file() -> None:
    with open(get_parameter("weights"), "rb") as file:
        _readable(pickle.load(file)["w"])


def _readable(numbers: Any) -> None:
    state["w"] = numbers
    state["delivery_s"] = time.perf_counter() - LOADED


@api.get("/")
def root() -> dict[str, Any]:
    """Which replica this is, how soon it had the numbers, and a sum over each page of them."""
    return {"pid": os.getpid(), "delivery_s": state["delivery_s"], "sum": float(state["w"][::1024].sum())}


LOADED = time.perf_counter()  # a replica imports this module right before it is given its parameters


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the weights (default: 1024)")
    parser.add_argument("--repeat", type=int, default=2, help="rounds (default: 2)")
    given = parser.parse_args()

    store = 3 * given.mib * 2**20
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in APPS}
    with harness.local_cluster(num_cpus=2, object_store_memory=max(store, 200 * 2**20)):
        harness.progress("the tasks make the weights")
        flyte.run(as_object, given.mib).outputs()
        flyte.run(as_file, given.mib).outputs()
        for number in range(given.repeat):
            for name, app in APPS.items():
                samples[name].append(replicas.served(app, REPLICAS))
                harness.progress(f"round {number + 1}, {name}: {samples[name][-1]}")
    assert len({total for each in samples["object"] + samples["file"] for total in each["sums"]}) == 1

    harness.report(
        "output_sharing",
        f"{given.mib} MiB of float32 into {REPLICAS} replicas; the slowest of them, median of {given.repeat}",
        replicas.HEAD,
        replicas.rows(samples),
        {"samples": samples, "mib": given.mib},
    )


if __name__ == "__main__":
    main()
