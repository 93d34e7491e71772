"""What does a request to an application of Ray Serve's cost behind flyteray's ingress, beside Serve's own proxy?

    python -m benchmarks.composition --seconds 4 --repeat 3

The same FastAPI class as ingress deployment, alone and asking a second deployment by its handle: as an app of
flyteray's (`ServeAppEnvironment`), and through Serve's default proxy. A plain FastAPI app shows what the class costs.
"""

# Serve's classes of FastAPI need annotations that are no texts.

import argparse
import functools
from statistics import median
from typing import Any

import httpx
from fastapi import FastAPI
from ray import serve

import flyteray as flyte
from benchmarks import harness, plain_serve
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment, ServeAppEnvironment

plain_api, api = FastAPI(), FastAPI()
plain = FastAPIAppEnvironment(name="plain", app=plain_api, scaling=Scaling(replicas=1))
NO_CPU = {"num_cpus": 0}
CONNECTIONS = (1, 32)


@plain_api.get("/alone")
async def answer() -> dict[str, str]:
    return {"hello": "world"}


@serve.deployment(ray_actor_options=NO_CPU, max_ongoing_requests=1000)
class Asked:
    async def __call__(self) -> str:
        return "world"


@serve.deployment(ray_actor_options=NO_CPU, max_ongoing_requests=1000)
@serve.ingress(api)
class Front:
    def __init__(self, asked: Any) -> None:
        self.asked = asked

    @api.get("/alone")
    async def alone(self) -> dict[str, str]:
        return {"hello": "world"}

    @api.get("/asking")
    async def asking(self) -> dict[str, str]:
        return {"hello": await self.asked.remote()}


application: Any = Front
composition = ServeAppEnvironment(name="composition", app=application.bind(Asked.bind()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="of load a sample (default: 4)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(plain_serve.OPTION, type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve_plainly:
        plain_serve.run(composition.app, given.serve_plainly)
    else:
        compare(given.seconds, given.repeat)


def compare(seconds: float, repeat: int) -> None:
    harness.require_wrk()
    with harness.local_cluster(num_cpus=2), plain_serve.plain_serve("benchmarks.composition") as serves:
        harness.progress("starting the peers")
        ours = flyte.serve(composition).endpoint
        urls = {
            "flyteray, a FastAPI app": f"{flyte.serve(plain).endpoint}/alone",
            "flyteray, the deployment alone": f"{ours}/alone",
            "Ray Serve, the deployment alone": f"{serves}/alone",
            "flyteray, asking a second one": f"{ours}/asking",
            "Ray Serve, asking a second one": f"{serves}/asking",
        }
        with httpx.Client() as client:
            for url in urls.values():
                harness.until(functools.partial(harness.answers, client, url), timeout_s=120)
        samples: dict[str, dict[int, list[harness.Load]]] = {
            peer: {connections: [] for connections in CONNECTIONS} for peer in urls
        }
        for turn in range(repeat):
            for peer, url in urls.items():
                for connections in CONNECTIONS:
                    harness.progress(f"round {turn + 1}: {peer}, {connections} connections")
                    samples[peer][connections].append(harness.wrk(url, connections, seconds))
    harness.report(
        "composition",
        f"One deployment of Ray Serve's, and two; wrk for {seconds:g} s, medians of {repeat} rounds",
        ["through", "req/s, 1 conn.", "p50 ms", "req/s, 32 conn.", "p99 ms", "failed"],
        [
            [
                peer,
                median(load.requests_per_s for load in few),
                median(load.p50_ms for load in few),
                median(load.requests_per_s for load in many),
                median(load.p99_ms for load in many),
                sum(load.failed for load in few + many),
            ]
            for peer, (few, many) in ((peer, tuple(loads.values())) for peer, loads in samples.items())
        ],
        {
            peer: {str(n): [vars(load) for load in loads] for n, loads in of.items()}
            for peer, of in samples.items()
        },
    )


if __name__ == "__main__":
    main()
