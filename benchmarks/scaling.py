"""Do replicas follow a load that grows from 1 to 200 requests at one time and falls again, and does a request fail?

    python -m benchmarks.scaling [--most 200] [--seconds 60] [--plot benchmarks/scaling.svg]

An app that takes a second for each request has ``Scaling.Concurrency(10)``. Clients ask without a pause, more and more
of them for so many seconds, then all for as long, then fewer and fewer, then one. The table says how late replicas
came and went, how often their number turned round, and what the requests took; the plot (matplotlib) shows all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import aiohttp
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App

SHARE = 10
AFTER_S = 20
LOOK_S = 0.5

api = FastAPI()


@api.get("/")
async def work() -> str:
    await asyncio.sleep(1.0)
    return "done"


@dataclass(frozen=True)
class Look:
    """The state of things at a moment: how many clients ask, how many replicas there are and are to be."""

    at: float
    clients: int
    ready: int
    wanted: int


class Crowd:
    """Clients that ask without a pause; ``wanted`` of them, in a thread of their own."""

    def __init__(self, url: str) -> None:
        self.wanted = 1
        self.answers: list[tuple[float, float, str]] = []  # when, seconds, status or error
        self._url = url
        self._over = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            clients: list[asyncio.Task[None]] = []
            while not self._over:
                while len(clients) < self.wanted:
                    clients.append(asyncio.create_task(self._ask(session, len(clients))))
                await asyncio.sleep(0.05)
                clients = [
                    each for number, each in enumerate(clients) if number < self.wanted or not each.done()
                ]
            self.wanted = 0
            await asyncio.gather(*clients)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        while number < self.wanted:
            began = time.monotonic()
            try:
                async with session.get(self._url) as response:
                    await response.read()
                    answer = str(response.status)
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                answer = type(error).__name__
            now = time.monotonic()
            self.answers.append((now, now - began, answer))


def clients_at(seconds: float, most: int, leg: float) -> int:
    """How many clients ask after so many seconds: up for a leg, all for one, down for one, then one."""
    if seconds < leg:
        return 1 + round((most - 1) * seconds / leg)
    if seconds < 2 * leg:
        return most
    return max(1, most - round((most - 1) * (seconds - 2 * leg) / leg))


def delays(looks: list[Look], most: int) -> tuple[list[float], list[float]]:
    """How long after the load asked for each next replica there was to be one more, and there was one more."""

    def first(holds: Callable[[Look], bool]) -> float:
        return next((look.at for look in looks if holds(look)), math.inf)

    wanted, ready = [], []
    for number in range(2, most + 1):
        asked = first(lambda look, number=number: look.clients > SHARE * (number - 1))  # type: ignore[misc]
        wanted.append(first(lambda look, number=number: look.wanted >= number) - asked)  # type: ignore[misc]
        ready.append(first(lambda look, number=number: look.ready >= number) - asked)  # type: ignore[misc]
    return wanted, ready


def turns(looks: list[Look]) -> int:
    """How often the wanted number turned round: once, at the top, where nothing flaps."""
    numbers = [look.wanted for look in looks]
    steps = [after - before for before, after in itertools.pairwise(numbers) if after != before]
    return sum((one > 0) != (other > 0) for one, other in itertools.pairwise(steps))


def draw(path: Path, looks: list[Look], answers: list[tuple[float, float, str]]) -> None:
    """Draw load, replicas and latency over the time."""
    from matplotlib.figure import Figure  # deferred: only who asks for a plot needs it

    began = looks[0].at
    times = [look.at - began for look in looks]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    load, latency = figure.subplots(2, 1, sharex=True)
    load.plot(times, [look.clients / SHARE for look in looks], label=f"requests at one time / {SHARE}")
    load.step(times, [look.wanted for look in looks], where="post", label="replicas wanted", linestyle=":")
    load.step(times, [look.ready for look in looks], where="post", label="replicas ready")
    load.set_ylabel("replicas")
    load.legend(loc="lower center")
    latency.scatter(
        [at - began for at, _, _ in answers],
        [seconds for _, seconds, _ in answers],
        s=2,
        alpha=0.3,
        rasterized=True,  # as a drawing they would be megabytes
    )
    latency.set_ylabel("seconds of an answer")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("seconds")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=200, help="clients at one time (default: 200)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each leg (default: 60)")
    parser.add_argument("--plot", type=Path, help="the file to draw into")
    given = parser.parse_args()
    if given.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install matplotlib")

    most = math.ceil(given.most / SHARE)
    env = FastAPIAppEnvironment(
        name="scaled",
        app=api,
        resources=flyte.Resources(cpu=0.05),
        scaling=Scaling(replicas=(1, most), metric=Scaling.Concurrency(SHARE), scaledown_after=AFTER_S),
    )
    looks: list[Look] = []
    with harness.local_cluster(num_cpus=4):
        flyte.init()
        app = flyte.serve(env)
        with Crowd(app.endpoint + "/") as crowd:
            began = time.monotonic()
            while True:
                seconds = time.monotonic() - began
                crowd.wanted = clients_at(seconds, given.most, given.seconds)
                info = App.get("scaled").info
                looks.append(Look(time.monotonic(), crowd.wanted, info.ready_replicas, info.replicas))
                if seconds > 3 * given.seconds and info.ready_replicas == 1:
                    break
                if seconds > 3 * given.seconds + 180:
                    harness.progress(f"{info.ready_replicas} replicas are left: {info.scaling}")
                    break
                time.sleep(LOOK_S)
    answers = sorted(crowd.answers)
    failed = Counter(answer for _, _, answer in answers if answer != "200")
    took = [seconds for _, seconds, _ in answers]
    calm = [seconds for at, seconds, _ in answers if 1.5 * given.seconds < at - began < 2 * given.seconds]
    fell = next(look.at for look in reversed(looks) if look.ready > 1) - began - 3 * given.seconds
    wanted, ready = delays(looks, most)
    if given.plot is not None:
        draw(given.plot, looks, answers)
    harness.report(
        "scaling",
        f"1 to {given.most} requests at one time and back, a second each, {SHARE} for each replica",
        ["", "measured"],
        [
            ["requests", len(answers)],
            ["failed", f"{failed.total()} {dict(failed) or ''}"],
            ["median and p99 of all, s", f"{median(took):.2f}, {quantiles(took, n=100)[-1]:.2f}"],
            ["median and p99 at the top, s", f"{median(calm):.2f}, {quantiles(calm, n=100)[-1]:.2f}"],
            ["most replicas", f"{max(look.ready for look in looks)} of {most}"],
            ["one more replica is asked for after, s", f"{median(wanted):.1f}, at most {max(wanted):.1f}"],
            ["one more replica is ready after, s", f"{median(ready):.1f}, at most {max(ready):.1f}"],
            [f"to one replica after the load (damped for {AFTER_S} s), s", f"{fell:.1f}"],
            ["turns of the wanted number", turns(looks)],
        ],
        {"looks": [vars(look) for look in looks]},
    )


if __name__ == "__main__":
    main()
