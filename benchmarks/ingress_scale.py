"""What do 1,000 apps with 10,000 host names on 200 machines cost an ingress, beside one app on one machine?

    python -m benchmarks.ingress_scale [--apps 1000] [--machines 200] [--seconds 1] [--repeat 20]

Two ingresses without Ray: one has a single app, the other one all of them. The same replica answers at both, as that of
the app that is asked; the replicas of the other machines are addresses behind one listener that speaks TLS. Rates are
measured in short turns, of which each pair gives a ratio, and so is HAProxy's time of a processor. Then the large one
gets more apps, one after the other, until it has had to get more backends, while it is asked all the time and a
WebSocket is open.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from websockets.sync.client import connect

from benchmarks import harness
from flyteray._ingress.differences import Difference
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress, found_at
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.tls import certificates

RATE_TARGET, ROUTE_TARGET_MS, MEMORY_TARGET_MIB = 0.95, 500.0, 300.0
CONNECTIONS = 32
AFTER, LONGEST = 10, 500  # apps that are added when there are more backends, and in all


def replica(port: int) -> None:
    """A server in a process of its own: nginx's answer to wrk, and a WebSocket that echoes."""
    import uvicorn

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    uvicorn.run(app, port=port, log_level="warning", access_log=False, lifespan="off")


@contextmanager
def replica_process() -> Iterator[Slot]:
    port = harness.free_port()
    command = [sys.executable, "-m", "benchmarks.ingress_scale", "--replica", str(port)]
    child = subprocess.Popen(command)
    try:
        with httpx.Client() as client:
            harness.until(lambda: harness.answers(client, f"http://127.0.0.1:{port}/"), timeout_s=30)
        yield Slot("127.0.0.1", port)
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def other_machines(folder: Path) -> Iterator[int]:
    """A port on all of 127.0.0.0/8 that answers as the ingresses of other machines do when asked for their health."""
    port = harness.free_port()
    certificate = f"crt {folder / maps.PEER_FILE} ca-file {folder / maps.CA_FILE} verify required"
    (folder / "others.cfg").write_text(
        "global\n    nbthread 1\n    maxconn 2000\ndefaults\n    mode http\n    timeout client 10s\n"
        "    timeout server 10s\n    timeout connect 1s\n"
        f"frontend others\n    bind 0.0.0.0:{port} ssl {certificate} ssl-min-ver TLSv1.3\n"
        "    http-request return status 200\n"
    )
    child = subprocess.Popen([process.find_binary(), "-db", "-q", "-f", str(folder / "others.cfg")])
    try:
        yield port
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def ingress(folder: Path, address: str) -> Iterator[Ingress]:
    made = Ingress(folder, watched=os.getpid(), address=address)
    try:
        yield made
    finally:
        made.stop()


def joined(made: Ingress) -> None:
    """Have an ingress take part in a cluster of its own."""
    authority = certificates.Authority.new()
    wish = made.wish(authority.certificate)
    assert wish is not None
    made.join(authority.sign(wish), authority.certificate)


def large(given: argparse.Namespace, here: str, own: Slot, peers_port: int) -> IngressState:
    """As the controller tells it: replicas are spread over the machines, of which the first is this one."""
    machines = [
        here,
        *(f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(given.machines - 1)),
    ]
    names = [f"app-{number}" for number in range(given.apps)]
    return IngressState(
        apps={name: number for number, name in enumerate(names)},
        backends={
            number: {
                slot: Slot(machines[(number * given.replicas + slot - 1) % len(machines)], own.port)
                for slot in range(1, given.replicas + 1)
            }
            for number in range(given.apps)
        },
        hosts={f"h{host}.{name}.example.com": name for name in names for host in range(given.hosts)},
        timeouts=dict.fromkeys(names, 60_000),
        waits=dict.fromkeys(names, 60_000),
        owners=dict(enumerate(names)),
        peers=dict.fromkeys(machines, peers_port),
    )


def with_one_more(state: IngressState, here: str, own: Slot) -> IngressState:
    """The state with an app more, whose only replica is here."""
    number = state.needs()
    name = f"app-{number}"
    return state.but(
        apps={**state.apps, name: number},
        backends={**state.backends, number: {1: Slot(here, own.port)}},
        owners={**state.owners, number: name},
        hosts={**state.hosts, f"h0.{name}.example.com": name},
    )


class Asked:
    """Asks an app all the time, counts what is no answer, and keeps the longest wait for one, in seconds."""

    def __init__(self, url: str) -> None:
        self.answered = self.failed = 0
        self.longest_s = 0.0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Asked:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._over.wait(0.002):
                began = time.perf_counter()
                if harness.answers(client, self._url):
                    self.answered += 1
                else:
                    self.failed += 1
                self.longest_s = max(self.longest_s, time.perf_counter() - began)


def memory_mib(folder: Path) -> list[float]:
    """What each process of an ingress's HAProxy has in memory, the largest first."""
    found = process.running(folder)
    assert found is not None
    children = psutil.Process(found.pid).children(recursive=True)
    return sorted((child.memory_info().rss / 2**20 for child in children), reverse=True)


def processor_s(folder: Path) -> float:
    """The time of a processor that an ingress's HAProxy has had."""
    with Conversation(folder) as haproxy:
        times = psutil.Process(haproxy.pid()).cpu_times()
    return float(times.user + times.system)


def is_larger(folder: Path, backends: int) -> bool:
    """Whether an ingress has more backends than so many."""
    try:
        with Conversation(folder) as haproxy:
            return haproxy.backends() > backends
    except OSError:  # it is being replaced
        return False


def grow(
    made: Ingress, state: IngressState, here: str, own: Slot, folder: Path
) -> tuple[list[float], float, Asked, bool]:
    """Add apps until there are more backends, and some more: ms to the first answers, the most memory, what failed."""
    base = f"http://127.0.0.1:{made.port()}"
    with Conversation(folder) as haproxy:
        backends = haproxy.backends()
    # As if so many versions had been replaced that more backends are made after the tenth app.
    state = state.but(owners={**state.owners, 3 * backends // 4 - 10: "app-0"})
    times: list[float] = []
    most = 0.0
    name = ""
    with (
        Asked(f"{base}/app-0/") as asked,
        httpx.Client(timeout=30) as client,
        connect(f"ws://127.0.0.1:{made.port()}/app-0/", proxy=None) as websocket,
    ):
        made.apply(state, "0")
        left = AFTER
        for number in range(LONGEST):
            after = with_one_more(state, here, own)
            name = f"app-{after.needs() - 1}"
            began = time.perf_counter()
            assert made.amend(Difference.between(state, after), str(number), str(number + 1))
            assert client.get(f"{base}/{name}/").status_code == 200
            times.append(1000 * (time.perf_counter() - began))
            state = after
            most = max(most, sum(memory_mib(folder)))
            left -= is_larger(folder, backends)
            if not left:
                break
        else:
            raise TimeoutError(f"There were not more backends after {LONGEST} more apps.")
        websocket.send("still here")
        lives = websocket.recv(timeout=10) == "still here"
    return times, most, asked, lives


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--apps", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=10, help="of each app (default: 10)")
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=4, help="of each app (default: 4)")
    parser.add_argument("--seconds", type=float, default=1, help="of load a turn (default: 1)")
    parser.add_argument("--repeat", type=int, default=20, help="pairs of turns (default: 20)")
    parser.add_argument("--replica", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replica:
        replica(given.replica)
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    harness.require_wrk()
    here = found_at("0.0.0.0")
    if here.startswith("127."):
        sys.exit("This machine has no address but loopback, and ingresses reach each other by another one.")
    home = Path(tempfile.mkdtemp(prefix="flyteray-bench-"))
    folders = {"one app": home / "one", "all": home / "all"}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        own = stack.enter_context(replica_process())
        made = {name: stack.enter_context(ingress(folder, here)) for name, folder in folders.items()}
        for each in made.values():
            joined(each)
        state = large(given, here, own, stack.enter_context(other_machines(folders["all"])))
        made["one app"].apply(IngressState({"app-0": 0}, {0: {1: Slot(here, own.port)}}, owners={0: "app-0"}))
        harness.progress("the large ingress is told of everything")
        began = time.perf_counter()
        made["all"].apply(state.but(backends={**state.backends, 0: {1: Slot(here, own.port)}}), "0")
        first_s = time.perf_counter() - began
        time.sleep(5)  # the health of all is known

        rates: dict[str, list[float]] = {name: [] for name in made}
        costs: dict[str, list[float]] = {name: [] for name in made}
        failed = 0
        for number in range(given.repeat):
            # Who comes first may find the machine otherwise than who comes second.
            for name in sorted(made, reverse=bool(number % 2)):
                before_s = processor_s(folders[name])
                load = harness.wrk(f"http://127.0.0.1:{made[name].port()}/app-0/", CONNECTIONS, given.seconds)
                took_s = processor_s(folders[name]) - before_s
                rates[name].append(load.requests_per_s)
                costs[name].append(1e6 * took_s / (load.requests_per_s * max(1, round(given.seconds))))
                failed += load.failed
                harness.progress(f"turn {number + 1}, {name}: {load}, {costs[name][-1]:.1f} µs each")
        state = state.but(backends={**state.backends, 0: {1: Slot(here, own.port)}})
        calm = {name: memory_mib(folder) for name, folder in folders.items()}
        times, most, asked, lives = grow(made["all"], state, here, own, folders["all"])
        failed += asked.failed

    ratio = median(many / one for one, many in zip(rates["one app"], rates["all"], strict=True))
    rows: list[list[Any]] = [
        ["requests/s, one app", median(rates["one app"]), ""],
        ["requests/s, all apps", median(rates["all"]), f"{ratio:.2f}x (target {RATE_TARGET:g}x)"],
        ["µs of a processor in HAProxy for a request, one app", median(costs["one app"]), ""],
        ["µs of a processor in HAProxy for a request, all apps", median(costs["all"]), ""],
        ["failed requests, turns and growth", failed, "target 0"],
        ["ms that a request to another app waited meanwhile, most", 1000 * asked.longest_s, ""],
        ["the WebSocket lives", "yes" if lives else "no", "target yes"],
        ["ms to a new app's first answer, median", median(times), f"target {ROUTE_TARGET_MS:g}"],
        ["ms to a new app's first answer, most", max(times), f"target {ROUTE_TARGET_MS:g}"],
        ["MiB of the worker, one app", calm["one app"][0], ""],
        ["MiB of the worker, all apps", calm["all"][0], f"target {MEMORY_TARGET_MIB:g}"],
        ["MiB of all processes with those that a reload leaves", most, ""],
        ["s to be told of everything at once", first_s, ""],
    ]
    harness.report(
        "ingress_scale",
        f"{given.apps} apps, {given.apps * given.hosts} host names, {given.machines} machines, "
        f"{given.apps * given.replicas} replicas; wrk for {given.seconds:g} s, {given.repeat} turns each",
        ["what", "measured", "target"],
        rows,
        {
            "rates": rates,
            "costs_us": costs,
            "route_ms": times,
            "memory_mib": calm,
            "memory_most_mib": most,
            "failed": failed,
        },
    )


if __name__ == "__main__":
    main()
