"""What does it cost that requests are counted, that an entry of each is written, and that they are traced?

    python -m benchmarks.requests_seen [--seconds 3] [--repeat 7]

Five ingresses without Ray in processes of their own, before the same replica, a FastAPI application: one counts its
requests as it does by default, one writes an access log as well, two send spans of one request in a hundred, and of
all, to a collector, and one was made to see nothing (no lines, no request ids). Rates are measured in turns. The
processor time of HAProxy and of the process beside it says more than rates where wrk and the replica have the same
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from benchmarks import harness
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.seen import lines

SHARES = {"traced, 1%": "0.01", "traced": "1"}
KINDS = ("nothing seen", "counted", "logged", *SHARES)
CONNECTIONS = 32
COUNTED_TARGET, LOGGED_TARGET = 0.95, 0.9


def replica(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    api = FastAPI()

    @api.get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    uvicorn.run(api, port=port, log_level="warning", access_log=False, lifespan="off")


def collector(port: int) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def ingress(kind: str, replica_port: int, collector_port: int) -> None:
    """Serve until stdin ends; first say the port, at the end the microseconds that a request took of processors."""
    if kind == "nothing seen":
        lines.rules = lambda client, logs, sampling: ""  # type: ignore[assignment]
    folder = Path(tempfile.mkdtemp(prefix="flyteray-bench-"))
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector_port}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": SHARES.get(kind, ""),
    }
    traces = tuple(variables.items()) if kind in SHARES else ()
    made = Ingress(folder, watched=os.getpid(), access_log=kind == "logged", traces=traces)
    try:
        made.apply(
            IngressState(
                {"hello": 0},
                {0: {1: Slot("127.0.0.1", replica_port)}},
                owners={0: "hello"},
                names={"b0": "v1", "b0/s1": "replica"},
            )
        )
        before = psutil.Process().cpu_times()
        print(made.port(), flush=True)
        sys.stdin.read()
        with Conversation(folder) as haproxy:
            worker, requests = psutil.Process(haproxy.pid()), haproxy.traffic([0])[0][1]
        times, own = worker.cpu_times(), psutil.Process().cpu_times()
        spent = {
            "haproxy_us": 1e6 * (times.user + times.system) / requests,
            "beside_us": 1e6 * (own.user + own.system - before.user - before.system) / requests,
            "seen": made.seen.figures([0])[0].requests / requests,
        }
        print(json.dumps(spent), flush=True)
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Measured:
    """An ingress in a process of its own, with the rates that were measured at it."""

    process: subprocess.Popen[str]
    url: str
    rates: list[float]

    def ended(self) -> dict[str, float]:
        """What it says at its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        said: dict[str, float] = json.loads(self.process.stdout.readline())
        self.process.wait(30)
        return said


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.requests_seen", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def serving(option: str) -> Iterator[int]:
    port = harness.free_port()
    process = child(option, str(port))
    try:
        with httpx.Client() as client:
            harness.until(lambda: harness.answers(client, f"http://127.0.0.1:{port}/"), timeout_s=30)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def measured(kind: str, replica_port: int, collector_port: int) -> Iterator[Measured]:
    process = child("--ingress", kind, str(replica_port), str(collector_port))
    assert process.stdout is not None
    try:
        yield Measured(process, f"http://127.0.0.1:{int(process.stdout.readline())}/hello/", [])
    finally:
        process.terminate()


def compare(given: argparse.Namespace) -> None:
    harness.require_wrk()
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(option)) for option in ("--replica", "--collector")]
        peers = {kind: stack.enter_context(measured(kind, *ports)) for kind in KINDS}
        for peer in peers.values():
            harness.wrk(peer.url, CONNECTIONS, 1)
        failed = 0
        for number in range(given.repeat):
            for kind in KINDS if number % 2 else KINDS[::-1]:
                load = harness.wrk(peers[kind].url, CONNECTIONS, given.seconds)
                peers[kind].rates.append(load.requests_per_s)
                failed += load.failed
                harness.progress(f"round {number + 1}, {kind}: {load}")
        spent = {kind: peer.ended() for kind, peer in peers.items()}
    bare = peers[KINDS[0]].rates
    ratios = {
        kind: median(rate / of for rate, of in zip(peer.rates, bare, strict=True))
        for kind, peer in peers.items()
    }
    targets = {"counted": f"{COUNTED_TARGET:g}x", "logged": f"{LOGGED_TARGET:g}x"}
    rows: list[list[Any]] = [
        [
            kind,
            median(peer.rates),
            f"{ratios[kind]:.2f}x",
            targets.get(kind, ""),
            spent[kind]["haproxy_us"],
            spent[kind]["beside_us"],
            f"{spent[kind]['seen']:.2%}",
        ]
        for kind, peer in peers.items()
    ]
    harness.report(
        "requests_seen",
        f"wrk -c{CONNECTIONS} for {given.seconds:g} s, {given.repeat} rounds; {failed} failed",
        ["ingress", "requests/s", "ratio", "target", "µs of HAProxy", "µs beside it", "seen"],
        rows,
        {"rates": {kind: peer.rates for kind, peer in peers.items()}, "spent": spent, "failed": failed},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3, help="of load a sample (default: 3)")
    parser.add_argument("--repeat", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--replica", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--collector", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--ingress", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replica:
        replica(given.replica)
    elif given.collector:
        collector(given.collector)
    elif given.ingress:
        kind, *ports = given.ingress
        ingress(kind, *map(int, ports))
    else:
        compare(given)


if __name__ == "__main__":
    main()
