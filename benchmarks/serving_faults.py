"""What do clients of an app notice when a part of what serves it is killed?

    python -m benchmarks.serving_faults [--rate 100] [--times 10]

Requests come at a steady rate to an app with two replicas, with WebSockets and event streams open all the time. One
process is killed (SIGKILL), as often as is said, each time when all has been well for a while: a replica, the worker of
HAProxy, its master, its supervisor, the process of the ingress with the activator, flyteray's controller, Serve's
controller. The table says for each kind which requests failed, the longest time without an answer, and which of the
forty streams were cut.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence

import psutil
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness
from benchmarks.steady import STREAMS, Asked, Clients, add_streams
from flyteray._cluster import local
from flyteray._ingress.haproxy import process as haproxy
from flyteray._settings import Settings
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App, Key
from tests.processes import process, processes_of, serves_controller

WORK_S = 0.02
CALM_S = 2.0  # before each fault
AFTER_S = 4.0  # in which its effects are counted, at least

api = FastAPI()
add_streams(api)
env = FastAPIAppEnvironment(
    name="faulty", app=api, resources=flyte.Resources(cpu=0.1), scaling=Scaling(replicas=2)
)


@api.get("/")
async def work() -> str:
    await asyncio.sleep(WORK_S)
    return "done"


class Victims:
    """The processes that serve an app."""

    def __init__(self, settings: Settings) -> None:
        cluster = local.find(settings)
        assert cluster is not None
        self._cluster = cluster
        self._ingress = settings.home / "ingress"
        self.kinds: dict[str, Callable[[], psutil.Process]] = {
            "a replica": lambda: self._replicas()[0],
            "HAProxy's worker": lambda: self._master().children()[0],
            "HAProxy's master": self._master,
            "HAProxy's supervisor": self._supervisor,
            "the ingress with the activator": lambda: process(cluster, "ray::IngressActor"),
            "the controller": lambda: process(cluster, "ray::Controller"),
            "Serve's controller": lambda: psutil.Process(serves_controller()),
        }

    def are_whole(self) -> bool:
        """Whether all are there, and both replicas take requests."""
        try:
            for find in self.kinds.values():
                find()
            return App.get("faulty").info.ready_replicas == 2 and len(self._replicas()) == 2
        except (psutil.Error, ValueError, IndexError, LookupError, RuntimeError, OSError):
            return False

    def _replicas(self) -> list[psutil.Process]:
        return processes_of(self._cluster, "ray::ServeReplica:faulty")

    def _supervisor(self) -> psutil.Process:
        found = haproxy.running(self._ingress)
        if found is None:
            raise LookupError("No supervisor runs.")
        return psutil.Process(found.pid)

    def _master(self) -> psutil.Process:
        return self._supervisor().children()[0]


def longest_gap(asked: Sequence[Asked], begins: float, ends: float) -> float:
    """The longest time, between these two, in which no request was answered."""
    answered = sorted(each.ended for each in asked if each.answer == "200" and begins <= each.ended <= ends)
    moments = [begins, *answered, ends]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default: 100)")
    parser.add_argument("--times", type=int, default=10, help="of each fault (default: 10)")
    given = parser.parse_args()

    windows: dict[str, list[tuple[float, float]]] = {}
    with harness.local_cluster(num_cpus=4, auth=True):
        flyte.init()
        key = Key.create("load")
        app = flyte.serve(env)
        victims = Victims(Settings.load())
        with Clients(app.endpoint, given.rate, key.value) as clients:
            for number in range(given.times):
                for kind, find in victims.kinds.items():
                    harness.until(victims.are_whole, timeout_s=120, poll_s=0.2)
                    time.sleep(CALM_S)
                    killed = time.monotonic()
                    find().kill()
                    time.sleep(AFTER_S)
                    harness.until(victims.are_whole, timeout_s=120, poll_s=0.2)
                    windows.setdefault(kind, []).append((killed, time.monotonic()))
                harness.progress(
                    f"{number + 1} of {given.times}: {dict(clients.answers)}, {len(clients.cut)} cut"
                )

    rows: list[list[object]] = []
    for kind, spans in windows.items():
        hit = [
            each
            for each in clients.asked
            if any(begins <= each.ended and each.began <= ends for begins, ends in spans)
        ]
        failed = Counter(each.answer for each in hit if each.answer != "200")
        cut = [sum(begins <= each.at <= ends for each in clients.cut) for begins, ends in spans]
        gaps = [longest_gap(clients.asked, begins, ends) for begins, ends in spans]
        slowest = max(each.ended - each.began for each in hit)
        rows.append(
            [
                kind,
                len(spans),
                f"{failed.total()} of {len(hit)} {dict(failed) or ''}",
                f"{max(gaps):.2f}",
                f"{slowest:.2f}",
                f"{min(cut)} to {max(cut)}",
            ]
        )
    harness.report(
        "serving_faults",
        f"One process killed at a time, {given.rate:.0f} requests a second, {2 * STREAMS} streams",
        [
            "killed",
            "times",
            "failed requests",
            "longest gap, s",
            "slowest answer, s",
            "streams cut each time",
        ],
        rows,
        {"windows_s": windows, "answers": clients.answers, "cut": Counter(each.how for each in clients.cut)},
    )


if __name__ == "__main__":
    main()
