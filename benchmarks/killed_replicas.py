"""What is left of fifty programs when half of their replicas are killed?

    python -m benchmarks.killed_replicas --replicas 50

Two apps whose servers are programs, each with a child of its own in another session. Half of the replicas are ended by
SIGKILL (with --guards the guards of their programs too, in the same instant), Serve replaces them, then both apps are
deleted. Counted are the processes that outlive what they belong to and the ports that are still taken.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

import flyteray as flyte
from benchmarks import harness
from flyteray._serve.servers.sockets import find_addresses
from flyteray.app import AppEnvironment
from flyteray.errors import ActivationTimeoutError
from flyteray.remote import App

MARK = "FLYTERAY_BENCH_PROGRAM"
SERVER = """
import http.server, os, subprocess
subprocess.Popen(["sleep", "100000"], start_new_session=True)
address = os.environ["HOST"], int(os.environ["PORT"])
http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SOURCE = f"""
from flyteray.app import AppEnvironment, Scaling

def programs(name: str, replicas: int) -> AppEnvironment:
    return AppEnvironment(
        name=name,
        command=["python", "-c", {SERVER!r}],
        env_vars={{"{MARK}": "1"}},
        scaling=Scaling(replicas=replicas),
    )

first = programs("programs-1", FIRST)
second = programs("programs-2", SECOND)
"""


def marked() -> dict[str, set[psutil.Process]]:
    """What runs of the programs, by what it is; replicas are processes of Ray that hold a program."""
    found: dict[str, set[psutil.Process]] = {
        "guard": set(),
        "program": set(),
        "child": set(),
        "replica": set(),
    }
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.environ().get(MARK) != "1":
                continue
            words = process.cmdline()
            if any(word.endswith("guard.py") for word in words):
                found["guard"].add(process)
                found["replica"].add(process.parent())
            elif words[:1] == ["sleep"]:
                found["child"].add(process)
            elif words[1:2] == ["-c"]:
                found["program"].add(process)
        except psutil.Error:
            continue
    return found


def listening(processes: set[psutil.Process]) -> set[int]:
    return {address.port for process in processes for address in find_addresses(process.pid)}


def count(found: dict[str, set[psutil.Process]]) -> list[int]:
    return [len(found[kind]) for kind in ("program", "guard", "child")]


def still_taken(ports: set[int]) -> set[int]:
    taken = {each.laddr.port for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return ports & taken


def measure(
    module: Any, replicas: int, guards: bool, rows: list[list[Any]], seconds: dict[str, float]
) -> None:
    envs: list[AppEnvironment] = [module.first, module.second]
    began = time.perf_counter()
    for env in envs:
        try:
            flyte.serve(env)
        except ActivationTimeoutError:  # it goes on
            App.get(env.name).wait(timeout=1200)
    seconds["start"] = time.perf_counter() - began
    running = marked()
    ports = listening(running["program"])
    rows.append(["all are up", *count(running), len(ports), seconds["start"]])

    victims = sorted(running["replica"], key=lambda process: process.pid)[: replicas // 2]
    of_victims = {child for victim in victims for child in victim.children(recursive=True)}
    killed = [*victims, *(child for victim in victims for child in victim.children() if guards)]
    for each in killed:
        os.kill(each.pid, signal.SIGKILL)
    seconds["gone"] = harness.until(lambda: not any(runs(each) for each in of_victims), timeout_s=120)
    left = {kind: {each for each in found if runs(each)} for kind, found in running.items()}
    rows.append(
        [
            f"{len(victims)} replicas were killed",
            *count(left),
            len(listening(left["program"])),
            seconds["gone"],
        ]
    )

    seconds["replaced"] = harness.until(lambda: count(marked())[0] == replicas, timeout_s=600, poll_s=0.5)
    again = marked()
    ports |= listening(again["program"])
    rows.append(
        ["Serve has replaced them", *count(again), len(listening(again["program"])), seconds["replaced"]]
    )

    began = time.perf_counter()
    for env in envs:
        App.delete(env.name)
    harness.until(lambda: sum(count(marked())) == 0 and not still_taken(ports), timeout_s=300, poll_s=0.2)
    seconds["deleted"] = time.perf_counter() - began
    rows.append(["both apps are deleted", *count(marked()), len(still_taken(ports)), seconds["deleted"]])


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=50, help="of both apps together (default: 50)")
    parser.add_argument("--guards", action="store_true", help="kill the guards of their programs as well")
    given = parser.parse_args()

    rows: list[list[Any]] = []
    seconds: dict[str, float] = {}
    with harness.local_cluster(num_cpus=2), tempfile.TemporaryDirectory() as folder:
        first = given.replicas // 2
        source = SOURCE.replace("FIRST", str(first)).replace("SECOND", str(given.replicas - first))
        Path(folder, "killed_apps.py").write_text(source)
        sys.path.insert(0, folder)
        try:
            measure(importlib.import_module("killed_apps"), given.replicas, given.guards, rows, seconds)
        finally:
            for row in rows:
                harness.progress(str(row))
    left = marked()
    rows.append(["the cluster has ended", *count(left), 0, None])
    harness.report(
        "killed_replicas",
        f"{given.replicas} programs behind replicas, half of which are killed",
        ["when", "programs", "guards", "their children", "ports", "s"],
        rows,
        {"seconds": seconds},
    )


if __name__ == "__main__":
    main()
