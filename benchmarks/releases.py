"""Is a request lost, or a connection cut, while versions of an app are released, judged and taken back?

    python -m benchmarks.releases [--seconds 300] [--rate 100]

Requests come at a steady rate, with WebSockets and event streams open all the time. Meanwhile there are ten deploys,
five changes of shares, three canaries at a tenth of the requests (a good one, one that fails 5% of its requests, one
that is 30% slower) and two rollbacks, and keys are made and taken back. The table says what failed and what was cut,
and how soon each canary was promoted or taken back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from statistics import quantiles

import aiohttp
from fastapi import FastAPI, WebSocket
from fastapi.responses import JSONResponse, Response, StreamingResponse

import flyteray as flyte
from benchmarks import harness
from flyteray.app import Canary, Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App, AppVersion, Key

STREAMS = 20  # of each kind
WORK_S = 0.05

api = FastAPI()


def release(fails: float = 0.0, slower: float = 1.0) -> FastAPIAppEnvironment:
    """A version that fails that share of its requests and takes that many times as long."""
    return FastAPIAppEnvironment(
        name="releases",
        app=api,
        resources=flyte.Resources(cpu=0.1),
        env_vars={"FAILS": str(fails), "SLOWER": str(slower)},
        scaling=Scaling(replicas=1),
    )


good, failing, slow = release(), release(fails=0.05), release(slower=1.3)


@api.get("/")
async def work() -> Response:
    await asyncio.sleep(WORK_S * random.lognormvariate(0, 0.2) * float(os.environ["SLOWER"]))
    if random.random() < float(os.environ["FAILS"]):
        return JSONResponse({"error": "as it was built"}, status_code=500)
    return JSONResponse("done")


@api.get("/events")
async def events() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@api.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


class Clients:
    """Requests at a steady rate, and streams that stay open; in a thread of their own."""

    def __init__(self, url: str, rate: float, key: str) -> None:
        self.answers: Counter[str] = Counter()  # by status, or by the error
        self.latencies: list[float] = []
        self.cut: Counter[str] = Counter()
        self.ticks = 0
        self._url, self._rate, self._headers = url, rate, {"Authorization": f"Bearer {key}"}
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers
        ) as session:
            streams = [asyncio.create_task(self._talk(session)) for _ in range(STREAMS)]
            streams += [asyncio.create_task(self._listen(session)) for _ in range(STREAMS)]
            asked: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self._over.is_set():
                task = asyncio.create_task(self._ask(session))
                asked.add(task)
                task.add_done_callback(asked.discard)
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*asked)
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.get(self._url + "/") as response:
                await response.read()
                self.answers[str(response.status)] += 1
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.answers[type(error).__name__] += 1
        self.latencies.append(time.monotonic() - began)

    async def _talk(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.ws_connect(self._url + "/echo") as socket:
                while True:
                    await socket.send_str("there?")
                    await socket.receive_str(timeout=60)
                    self.ticks += 1
                    await asyncio.sleep(0.5)
        except (aiohttp.ClientError, asyncio.TimeoutError, TypeError) as error:
            self.cut[f"WebSocket: {error!r}"] += 1

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url + "/events") as response:
                response.raise_for_status()
                async for _ in response.content:
                    self.ticks += 1
            self.cut["event stream: its end"] += 1
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.cut[f"event stream: {error!r}"] += 1


class Releases:
    """What is done to the app meanwhile, spread over the time that there is."""

    def __init__(self, app: App, seconds: float) -> None:
        self.canaries: list[tuple[str, AppVersion, float]] = []
        self._app = app
        self._ends = time.monotonic() + seconds
        self._number = 1

    def run(self) -> None:
        """Do it all, and wait for the end of the time."""
        for step in range(5):
            self._deploy()
            self._deploy()
            self._share()
            if step in (1, 3):
                self._app.rollback()
            if step in (0, 2, 4):
                name, env = (("good", good), ("fails 5%", failing), ("30% slower", slow))[step // 2]
                self._canary(name, env)
            with_key(f"passing-{step}")
            harness.progress(f"step {step + 1} of 5, {self._ends - time.monotonic():.0f} s left")
        time.sleep(max(0.0, self._ends - time.monotonic()))

    def _deploy(self) -> None:
        self._number += 1
        flyte.with_servecontext(version=f"v{self._number}", env_vars={"NUMBER": str(self._number)}).serve(
            good
        )

    def _share(self) -> None:
        self._app.set_traffic({f"v{self._number}": 60, f"v{self._number - 1}": 40}, sticky="cookie")

    def _canary(self, name: str, env: FastAPIAppEnvironment) -> None:
        self._app.promote(f"v{self._number}")
        version = f"canary-{self._number}"
        began = time.monotonic()
        canary = Canary(steps=(10,), every=45)
        flyte.with_servecontext(version=version, canary=canary).serve(env)
        serving = time.monotonic()

        def ended() -> bool:
            [found] = [each for each in self._app.versions() if each.name == version]
            if found.canary is None or found.canary.outcome == "running":
                return False
            self.canaries.append((name, found, time.monotonic() - serving))
            return True

        harness.until(ended, timeout_s=180, poll_s=0.2)
        harness.progress(
            f"canary that is {name}: {self.canaries[-1][1].canary}, up in {serving - began:.1f} s"
        )
        self._app.promote(f"v{self._number}")


def with_key(name: str) -> None:
    """Make a key and take it back."""
    Key.create(name)
    Key.delete(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default: 100)")
    given = parser.parse_args()

    with harness.local_cluster(num_cpus=4, auth=True):
        flyte.init()
        key = Key.create("load")
        flyte.with_servecontext(version="v1").serve(good)
        app = App.get("releases")
        with Clients(app.endpoint, given.rate, key.value) as clients:
            releases = Releases(app, given.seconds)
            releases.run()

    asked = sum(clients.answers.values())
    built = sum(
        round(found.canary.canary.error_rate * found.canary.canary.requests)
        for _, found, _ in releases.canaries
        if found.canary
    )
    failed = asked - clients.answers["200"]
    p50, *_, p99 = quantiles(clients.latencies, n=100)
    rows: list[list[object]] = [
        ["requests", asked],
        [
            "failed",
            f"{failed}, of which {built} by the canary that was built to fail: {dict(clients.answers)}",
        ],
        ["p50 and p99, ms", f"{p50 * 1000:.0f}, {p99 * 1000:.0f}"],
        ["streams cut", f"{sum(clients.cut.values())} of {2 * STREAMS} {dict(clients.cut) or ''}"],
        *(
            [f"canary: {name}", f"{found.canary.outcome} after {seconds:.0f} s: {found.canary.reason or ''}"]
            for name, found, seconds in releases.canaries
            if found.canary
        ),
    ]
    harness.report(
        "releases",
        f"Ten deploys, five changes of shares, three canaries, two rollbacks in {given.seconds:.0f} s at "
        f"{given.rate:.0f} requests a second",
        ["", "measured"],
        rows,
        {
            "answers": clients.answers,
            "cut": clients.cut,
            "latencies_s": {"p50": p50, "p99": p99},
            "canaries": {name: found.model_dump(mode="json") for name, found, _ in releases.canaries},
        },
    )


if __name__ == "__main__":
    main()
