"""What does a fault of a machine or a process cost those who ask? Three machines, each asked through its own ingress.

Machines are network namespaces of this one (see tests/nodes.py; needs root). Each fault happens once to a fresh cluster
under steady load with WebSockets open; the table says what failed, how long the longest answer took, and what was cut.
A head comes back to a cluster of which Ray keeps what it knows in Redis (Debian: redis-server).

    python -m benchmarks.node_faults [--seconds 60] [--rate 30] [--repeat 3] [FAULT ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests import nodes, redis_server
from tests.integration.cluster_of_machines import Machines, serving, url

SETTLED_S = 10.0  # of load before the fault


def none(machines: Machines) -> list[str]:
    return machines.names


def kill_node(machines: Machines) -> list[str]:
    machines.two.kill()
    return ["head", "one"]


def silence_node(machines: Machines) -> list[str]:
    machines.two.silence()
    return ["head", "one"]


def part_workers(machines: Machines) -> list[str]:
    machines.one.part_from(machines.two)
    return machines.names


def kill_controller(machines: Machines) -> list[str]:
    machines.end(machines.head, "ray::Controller")
    return machines.names


def kill_ingress(machines: Machines) -> list[str]:
    machines.end(machines.two, "haproxy")
    return machines.names


def kill_head(machines: Machines) -> list[str]:
    machines.head.kill()
    return ["one", "two"]


def restart_head(machines: Machines) -> list[str]:
    machines.head.kill()
    machines.replace_head()
    return ["one", "two"]


FAULTS: dict[str, Callable[[Machines], list[str]]] = {
    "none": none,
    "node killed": kill_node,
    "node silent": silence_node,
    "workers parted": part_workers,
    "controller killed": kill_controller,
    "ingress killed": kill_ingress,
    "head killed": kill_head,
    "head killed and back": restart_head,
}


@dataclass(frozen=True)
class Cost:
    asked: int
    failed: int  # of those who asked a machine that was there
    safe: int  # of these, requests that may be repeated
    longest_s: float
    cut: int
    cut_elsewhere: int  # WebSockets whose replica was on another machine than the faulty one


def measure(fault: str, seconds: float, rate: float) -> Cost:
    with serving(lasting=FAULTS[fault] is restart_head) as machines:
        load = machines.load(seconds, [url(node) for node in machines.all], rate)
        time.sleep(SETTLED_S)
        names = FAULTS[fault](machines)
        there = {node.address for node in machines.all if node.name in names}
        answers, talks = load.told()
    asked = [each for each in answers if urlsplit(each["url"]).hostname in there]
    failed = [each for each in asked if each["status"] != 200]
    cut = [each for each in talks if each["cut"] and urlsplit(each["url"]).hostname in there]
    return Cost(
        asked=len(asked),
        failed=len(failed),
        safe=sum(each["method"] == "GET" for each in failed),
        longest_s=max(each["took"] for each in asked),
        cut=len(cut),
        cut_elsewhere=sum(each["node"] in names for each in cut),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"Some of: {', '.join(FAULTS)}.")
    parser.add_argument("--seconds", type=float, default=60.0, help="Load for each fault.")
    parser.add_argument("--rate", type=float, default=30.0, help="Requests a second through each ingress.")
    parser.add_argument("--repeat", type=int, default=3, help="Times for each fault.")
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"there is no fault {', '.join(sorted(unknown))}: choose from {', '.join(FAULTS)}")
    if (why := nodes.missing()) is not None:
        sys.exit(f"There are no machines here: {why}.")
    if "head killed and back" in (options.faults or FAULTS) and (why := redis_server.missing()) is not None:
        sys.exit(f"A head can't come back here: {why}.")
    table = Table(
        title=f"{options.repeat} times {options.seconds:g} s, {options.rate:g} requests/s to each ingress"
    )
    for column in (
        "fault",
        "asked",
        "failed",
        "of them GET",
        "longest (median, most)",
        "WebSockets cut",
        "elsewhere",
    ):
        table.add_column(column)
    console = Console()
    for fault in options.faults or FAULTS:
        costs = []
        for turn in range(options.repeat):
            console.print(f"{fault}, {turn + 1} of {options.repeat}", style="dim")
            costs.append(measure(fault, options.seconds, options.rate))
        longest = [cost.longest_s for cost in costs]
        table.add_row(
            fault,
            str(sum(cost.asked for cost in costs)),
            ", ".join(str(cost.failed) for cost in costs),
            ", ".join(str(cost.safe) for cost in costs),
            f"{median(longest):.2f} s, {max(longest):.2f} s",
            ", ".join(str(cost.cut) for cost in costs),
            ", ".join(str(cost.cut_elsewhere) for cost in costs),
        )
    console.print(table)


if __name__ == "__main__":
    main()
