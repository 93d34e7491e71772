"""Is a request lost, or a connection cut, while versions of an app are released, judged and taken back?

    python -m benchmarks.releases [--seconds 300] [--rate 100]

Requests come at a steady rate, with WebSockets and event streams open all the time. Meanwhile there are ten deploys,
five changes of shares, three canaries at a tenth of the requests (a good one, one that fails 5% of its requests, one
that is 30% slower) and two rollbacks, keys are made and taken back, and the certificate is replaced. Clients come by
TLS. The table says what failed and what was cut, and how soon each canary was promoted or taken back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

import flyteray as flyte
from benchmarks import harness
from benchmarks.steady import STREAMS, Clients, add_streams
from flyteray.app import Canary, Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App, AppVersion, Key
from tests.certificates import Issuer

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


add_streams(api)


class Releases:
    """What is done to the app meanwhile, spread over the time that there is."""

    def __init__(self, app: App, seconds: float, renew: Callable[[], object]) -> None:
        self._renew = renew
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
            self._renew()
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

    issuer = Issuer("authority of the benchmark")
    with (
        tempfile.TemporaryDirectory() as folder,
        harness.local_cluster(num_cpus=4, auth=True, tls=issuer.issue().put(Path(folder))),
    ):
        flyte.init()
        key = Key.create("load")
        flyte.with_servecontext(version="v1").serve(good)
        app = App.get("releases")
        url = f"https://localhost:{urlsplit(app.url).port}/releases"
        trusting = ssl.create_default_context(cadata=issuer.certificate.decode())
        with Clients(url, given.rate, key.value, trusting) as clients:
            releases = Releases(app, given.seconds, lambda: issuer.issue().put(Path(folder)))
            releases.run()

    asked = sum(clients.answers.values())
    built = sum(
        round(found.canary.canary.error_rate * found.canary.canary.requests)
        for _, found, _ in releases.canaries
        if found.canary
    )
    failed = asked - clients.answers["200"]
    latencies = [each.ended - each.began for each in clients.asked]
    p50, p99 = median(latencies), quantiles(latencies, n=100)[-1]
    cut = Counter(each.how for each in clients.cut)
    rows: list[list[object]] = [
        ["requests", asked],
        [
            "failed",
            f"{failed}, of which {built} by the canary that was built to fail: {dict(clients.answers)}",
        ],
        ["p50 and p99, ms", f"{p50 * 1000:.0f}, {p99 * 1000:.0f}"],
        ["streams cut", f"{cut.total()} of {2 * STREAMS} {dict(cut) or ''}"],
        *(
            [f"canary: {name}", f"{found.canary.outcome} after {seconds:.0f} s: {found.canary.reason or ''}"]
            for name, found, seconds in releases.canaries
            if found.canary
        ),
    ]
    harness.report(
        "releases",
        f"Ten deploys, five changes of shares, three canaries, two rollbacks, five certificates in "
        f"{given.seconds:.0f} s at {given.rate:.0f} requests a second",
        ["", "measured"],
        rows,
        {
            "answers": clients.answers,
            "cut": cut,
            "latencies_s": {"p50": p50, "p99": p99},
            "canaries": {name: found.model_dump(mode="json") for name, found, _ in releases.canaries},
        },
    )


if __name__ == "__main__":
    main()
