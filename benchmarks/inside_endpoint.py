"""Which address of an app costs least inside the cluster?

    python -m benchmarks.inside_endpoint --seconds 2 --repeat 5

The same trivial application, asked at its own port (no balancing), through the ingress by path (what ``env.endpoint``
gives) and through the ingress by host. Without Ray: the ingress and uvicorn are all there is on the way. Beside the
latency, the processor time that the ingress spends on a request is measured: other load on the machine does not
change it. Addresses are measured one after another in rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import httpx
import psutil

from benchmarks import harness
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot

DIRECT, BY_PATH, BY_HOST = "its own port", "ingress, by path", "ingress, by host"
CONNECTIONS = (1, 32)


def main() -> None:
    """Measure, print, keep the samples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="per address, connections and round")
    parser.add_argument("--repeat", type=int, default=5, help="rounds")
    options = parser.parse_args()
    harness.require_wrk()
    port = harness.free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.request_overhead:api", f"--port={port}"]
    app = subprocess.Popen([*command, "--no-access-log", "--log-level=warning"])
    with tempfile.TemporaryDirectory() as folder:
        ingress = Ingress(folder)
        try:
            state = IngressState({"trivial": 0}, {0: {1: Slot("127.0.0.1", port)}})
            ingress.apply(state)
            measure(port, ingress.port(), proxy_of(Path(folder)), options.seconds, options.repeat)
        finally:
            ingress.stop()
            app.terminate()
            app.wait()


def measure(port: int, ingress: int, proxy: psutil.Process, seconds: float, repeat: int) -> None:
    """Ask each address in each round and report the medians."""
    addresses = {
        DIRECT: f"http://127.0.0.1:{port}/",
        BY_PATH: f"http://127.0.0.1:{ingress}/trivial/",
        BY_HOST: f"http://127.0.0.1:{ingress}/",  # not every machine resolves names below localhost
    }
    with httpx.Client() as client:
        harness.until(lambda: harness.answers(client, addresses[BY_PATH]), 30)
    samples: dict[str, list[dict[str, float]]] = {
        f"{name}, {c}": [] for name in addresses for c in CONNECTIONS
    }
    for round_ in range(repeat):
        harness.progress(f"round {round_ + 1} of {repeat}")
        for connections in CONNECTIONS:
            for name, url in addresses.items():
                before = sum(proxy.cpu_times()[:2])
                host = "trivial.localhost" if name == BY_HOST else None
                load = harness.wrk(url, connections, seconds, host)
                spent = sum(proxy.cpu_times()[:2]) - before
                done = load.requests_per_s * max(1, round(seconds))
                sample = {
                    "requests_per_s": load.requests_per_s,
                    "p50_ms": load.p50_ms,
                    "p99_ms": load.p99_ms,
                    "proxy_us": spent / done * 1e6,
                    "failed": load.failed,
                }
                samples[f"{name}, {connections}"].append(sample)
    columns = ["requests_per_s", "p50_ms", "p99_ms", "proxy_us", "failed"]
    rows = [
        [key, *(median(s[column] for s in taken) for column in columns)] for key, taken in samples.items()
    ]
    harness.report(
        "inside_endpoint",
        "An app's addresses inside the cluster (medians; proxy µs: processor time of the ingress for a request)",
        ["address, connections", "requests/s", "p50 ms", "p99 ms", "proxy µs", "failed"],
        rows,
        {"samples": samples},
    )


def proxy_of(folder: Path) -> psutil.Process:
    """The worker of the HAProxy that runs in a folder."""
    workers = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "haproxy" and Path(process.cwd()) == folder and not process.children()
    ]
    assert len(workers) == 1
    return workers[0]


if __name__ == "__main__":
    main()
