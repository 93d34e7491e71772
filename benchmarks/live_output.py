"""What happens to requests and memory when an app takes newer models while it runs?

    python -m benchmarks.live_output --mib 64 --runs 5

Two replicas follow a training task (``RunOutput(..., follow=True)``) and are asked at a steady rate while it runs again
and again. Each answer says which model gave it and whether all of that model was of one run. A model counts as served
when no request is answered by an older one any more; the time begins at the success of its run. Memory is compared
between the first model and the last: what each replica has for itself, and what lies in Ray's object store.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx
import numpy as np
import psutil
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness
from flyteray.app import Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App

RATE = 50.0  # requests a second
REPLICAS = 2
env = flyte.TaskEnvironment(name="live-output")
api = FastAPI()
app_env = FastAPIAppEnvironment(
    name="live-output",
    app=api,
    scaling=Scaling(replicas=REPLICAS),
    parameters=[Parameter("model", RunOutput("object", task_name="live-output.train", follow=True))],
)


@env.task
def train(generation: int, mib: int) -> dict[str, Any]:
    return {"generation": generation, "w": np.full(mib * 2**18, generation, dtype=np.float32)}


@app_env.on_update
def warm_up(model: dict[str, Any]) -> None:
    assert float(model["w"].min()) == model["generation"]


@api.get("/")
def root() -> dict[str, Any]:
    model = get_parameter("model")
    return {
        "pid": os.getpid(),
        "generation": model["generation"],
        "whole": bool((model["w"][::256] == model["generation"]).all()),
    }


@dataclass(frozen=True)
class Answer:
    """When it came, on the wall clock, and what it said; ``status`` 0 is no answer at all."""

    at: float
    took: float
    status: int
    said: dict[str, Any]


def ask(client: httpx.Client, url: str) -> Answer:
    began = time.perf_counter()
    try:
        answer = client.get(url)
        said = answer.json() if answer.status_code == 200 else {}
        return Answer(time.time(), time.perf_counter() - began, answer.status_code, said)
    except httpx.HTTPError:
        return Answer(time.time(), time.perf_counter() - began, 0, {})


def steadily(pool: ThreadPoolExecutor, client: httpx.Client, url: str, stop: Event) -> list[Future[Answer]]:
    """Ask ``RATE`` times a second until told to stop."""
    asked: list[Future[Answer]] = []
    began = time.perf_counter()
    while not stop.wait(max(0.0, began + len(asked) / RATE - time.perf_counter())):
        asked.append(pool.submit(ask, client, url))
    return asked


def private_mib(pids: set[int]) -> list[float]:
    """What each replica has for itself alone."""
    return [psutil.Process(pid).memory_full_info().uss / 2**20 for pid in sorted(pids)]


def stored_mib() -> float:
    """What lies in Ray's object store."""
    # Deferred: replicas import this module and need neither.
    import ray
    from ray._private.internal_api import node_stats

    (node,) = ray.nodes()
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
    return float(stats.store_stats.object_store_bytes_used) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=64, help="size of a model (default: 64)")
    parser.add_argument("--runs", type=int, default=5, help="newer models (default: 5)")
    given = parser.parse_args()

    succeeded: dict[int, float] = {}

    def run(generation: int) -> None:
        handle = flyte.run(train, generation, given.mib)
        handle.wait()
        ended = handle.info.ended_at
        assert ended is not None
        succeeded[generation] = ended.timestamp()

    store = max(8 * given.mib, 256) * 2**20
    with (
        harness.local_cluster(num_cpus=2, object_store_memory=store),
        httpx.Client(timeout=60) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        run(1)
        app = flyte.serve(app_env)
        url = f"{app.endpoint}/"
        pids: set[int] = set()

        def all_known() -> bool:
            pids.add(ask(client, url).said["pid"])
            return len(pids) == REPLICAS

        harness.until(all_known, timeout_s=60)
        stop = Event()
        asking = pool.submit(steadily, pool, client, url, stop)
        time.sleep(3)  # under load before the first comparison as well
        before = private_mib(pids), stored_mib()
        for generation in range(2, given.runs + 2):
            harness.progress(f"model {generation}")
            run(generation)
            began = time.time()
            harness.until(
                lambda: all(
                    replica.outputs.get("model") == App.get(app.name).info.lineage["model"].run
                    for replica in App.get(app.name).info.replica_list
                ),
                timeout_s=60,
            )
            time.sleep(max(0.0, began + 3 - time.time()))
        harness.until(lambda: stored_mib() < before[1] + given.mib / 2, timeout_s=60, poll_s=0.5)
        after = private_mib(pids), stored_mib()
        stop.set()
        answers = [future.result() for future in asking.result()]
        App.delete(app.name)

    good = [each for each in answers if each.status == 200]
    rows = []
    for generation in range(2, given.runs + 2):
        since = succeeded[generation]
        first = min(each.at for each in good if each.said["generation"] == generation)
        last = max(each.at for each in good if each.said["generation"] < generation)
        rows.append([f"model {generation}", first - since, last - since])
    growth = [later - earlier for earlier, later in zip(before[0], after[0], strict=True)]
    harness.report(
        "live_output",
        f"{given.runs} newer models of {given.mib} MiB, {REPLICAS} replicas, {RATE:g} requests/s; "
        "seconds after the run's success",
        ["taken over by", "first answer", "last answer of an older one"],
        rows,
        {"rows": rows, "private_mib": [before[0], after[0]], "store_mib": [before[1], after[1]]},
    )
    torn = sum(not each.said["whole"] for each in good)
    slow = sorted(each.took for each in answers)
    harness.progress(
        f"{len(answers)} requests, {len(answers) - len(good)} failed, {torn} answers of no whole model; "
        f"median {1000 * slow[len(slow) // 2]:.1f} ms, p99 {1000 * slow[int(0.99 * len(slow))]:.1f} ms.\n"
        f"Private memory of the replicas grew by {', '.join(f'{each:.1f}' for each in growth)} MiB; "
        f"the object store held {before[1]:.0f} MiB with the first model and {after[1]:.0f} MiB with the last."
    )


if __name__ == "__main__":
    main()
