"""How soon can three replicas use a module of PyTorch, and how much memory does each take for it?

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    python -m benchmarks.torch_module --mib 1024 --repeat 2

The same module reaches three replicas on one machine as an object, from Ray's object store, and as a file that
``torch.save`` wrote and each reads by ``torch.load``, which is what one does without flyteray. An app that has imported
PyTorch, and no module, shows what a replica takes by itself. Times and memory are those of ``output_sharing``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness, replicas
from flyteray.app import AppEnvironment, Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import File

env = flyte.TaskEnvironment(name="torch-module")
api = FastAPI()
REPLICAS = 3
LAYERS = 16
three = Scaling(replicas=REPLICAS)
empty = FastAPIAppEnvironment(name="empty-torch", app=api, scaling=three)
by_object = FastAPIAppEnvironment(
    name="torch-by-object",
    app=api,
    scaling=three,
    parameters=[Parameter("module", RunOutput(type="object", task_name="torch-module.as_object"))],
)
by_file = FastAPIAppEnvironment(
    name="torch-by-file",
    app=api,
    scaling=three,
    parameters=[Parameter("module", RunOutput(type="file", task_name="torch-module.as_file"))],
)
APPS: dict[str, AppEnvironment] = {"nothing": empty, "object": by_object, "file": by_file}

state: dict[str, Any] = {}


def module(mib: int) -> torch.nn.Module:
    """A module of so many MiB of weights."""
    torch.manual_seed(7)
    width = int((mib * 2**20 / 4 / LAYERS) ** 0.5)
    return torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False) for _ in range(LAYERS)))


@env.task
def as_object(mib: int) -> torch.nn.Module:
    return module(mib)


@env.task
def as_file(mib: int) -> File[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "module.pt")
        torch.save(module(mib), path)
        return File.from_local_sync(path)


@empty.on_startup
def load_nothing() -> None:
    _usable(torch.nn.Linear(8, 8))


@by_object.on_startup
def load_object() -> None:
    _usable(get_parameter("module"))


@by_file.on_startup
def load_file() -> None:
    _usable(torch.load(get_parameter("module"), weights_only=False))


def _usable(found: torch.nn.Module) -> None:
    state["module"] = found
    state["delivery_s"] = time.perf_counter() - LOADED


@api.get("/")
def root() -> dict[str, Any]:
    """Which replica this is, how soon it had the module, and a sum over each page of its weights."""
    total = sum(float(each.detach().flatten()[::1024].sum()) for each in state["module"].parameters())
    return {"pid": os.getpid(), "delivery_s": state["delivery_s"], "sum": total}


LOADED = time.perf_counter()  # a replica imports this module right before it is given its parameters


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the weights (default: 1024)")
    parser.add_argument("--repeat", type=int, default=2, help="rounds (default: 2)")
    given = parser.parse_args()

    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in APPS}
    with harness.local_cluster(num_cpus=2, object_store_memory=max(3 * given.mib, 200) * 2**20):
        harness.progress("the tasks make the module")
        flyte.run(as_object, given.mib).outputs()
        flyte.run(as_file, given.mib).outputs()
        for number in range(given.repeat):
            for name, app in APPS.items():
                samples[name].append(replicas.served(app, REPLICAS))
                harness.progress(f"round {number + 1}, {name}: {samples[name][-1]}")
    assert len({total for each in samples["object"] + samples["file"] for total in each["sums"]}) == 1
    harness.report(
        "torch_module",
        f"{given.mib} MiB of PyTorch weights into {REPLICAS} replicas; the slowest of them, median of {given.repeat}",
        replicas.HEAD,
        replicas.rows(samples),
        {"samples": samples, "mib": given.mib, "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
