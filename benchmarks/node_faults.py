"""What does a fault of a machine or a process cost those who ask? Three machines, each asked through its own ingress.

Machines are network namespaces of this one (see tests/nodes.py; needs root). Each kind of fault happens several times
to one cluster under steady load with twelve WebSockets open, each time when all is whole again: a machine that was
killed or silent is replaced by one that has nothing of what it had. The table says what failed of those who asked a
machine that was there, how long the longest answer took, and what was cut. A head comes back to a cluster of which Ray
keeps what it knows in Redis (Debian: redis-server).

    python -m benchmarks.node_faults [--seconds 300] [--rate 100] [--times 3] [FAULT ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks import harness
from tests import nodes, redis_server
from tests.integration.cluster_of_machines import Machines, serving, url

CALM_S = 10.0  # of load before each fault
LASTS_S = 45.0  # from a fault until it is mended; Ray gives a silent machine up in less
WHOLE_S = 60.0  # until each machine answers again, at most
COLUMNS = ("fault", "asked", "failed", "of them GET", "longest", "WebSockets cut", "of them elsewhere")


def victim(machines: Machines) -> str:
    """The worker with the most replicas."""
    where = Counter(machines.replicas())
    return max((machines.one, machines.two), key=lambda node: where[node.address]).name


@contextmanager
def none(machines: Machines) -> Iterator[list[str]]:
    yield machines.names


@contextmanager
def kill_node(machines: Machines) -> Iterator[list[str]]:
    name = victim(machines)
    machines.worker(name).kill()
    yield [other for other in machines.names if other != name]
    machines.replace(name)


@contextmanager
def silence_node(machines: Machines) -> Iterator[list[str]]:
    name = victim(machines)
    machines.worker(name).silence()
    yield [other for other in machines.names if other != name]
    machines.worker(name).kill()
    machines.replace(name)


@contextmanager
def part_workers(machines: Machines) -> Iterator[list[str]]:
    machines.one.part_from(machines.two)
    yield machines.names
    machines.one.part_from(machines.two, parted=False)


@contextmanager
def kill_controller(machines: Machines) -> Iterator[list[str]]:
    machines.end(machines.head, "ray::Controller")
    yield machines.names


@contextmanager
def kill_ingress(machines: Machines) -> Iterator[list[str]]:
    machines.end(machines.two, "haproxy")
    yield machines.names


@contextmanager
def restart_head(machines: Machines) -> Iterator[list[str]]:
    machines.kill_head()
    machines.replace_head()
    yield [machines.one.name, machines.two.name]


Fault = Callable[[Machines], AbstractContextManager[list[str]]]
"""Is there within its context, and says whose clients are not to notice: those of the machines of these names."""

FAULTS: dict[str, Fault] = {
    "none": none,
    "node killed": kill_node,
    "node silent": silence_node,
    "workers parted": part_workers,
    "controller killed": kill_controller,
    "ingress killed": kill_ingress,
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


def measure(fault: str, seconds: float, rate: float, times: int) -> list[Cost]:
    """What each of so many faults under one load has cost, until the next one."""
    turn_s = seconds / times
    whole_at: list[float] = []
    whose: list[list[str]] = []
    with serving(lasting=FAULTS[fault] is restart_head) as machines:
        load = machines.load(seconds, [url(node) for node in machines.all], rate)
        began = time.time()
        for turn in range(times):
            time.sleep(max(CALM_S, began + turn * turn_s + CALM_S - time.time()))
            at = time.time()
            with FAULTS[fault](machines) as names:
                whole_at.append(at - CALM_S / 2)
                whose.append(names)
                time.sleep(max(0.0, min(LASTS_S, turn_s - CALM_S) - (time.time() - at)))
            harness.until(lambda: answers_everywhere(machines), timeout_s=WHOLE_S)
        answers, talks = load.told()
        named = {node.address: node.name for node in machines.all}
    costs = []
    for names, at, until in zip(whose, whole_at, [*whole_at[1:], float("inf")], strict=True):
        there = {address for address, name in named.items() if name in names}
        costs.append(
            cost(between(answers, "at", at, until, there), between(talks, "cut", at, until, there), names)
        )
    return costs


def answers_everywhere(machines: Machines) -> bool:
    return all(machines.asked(f"{url(node)}/who")[0] == 200 for node in machines.all)


def between(
    told: Sequence[dict[str, Any]], key: str, at: float, until: float, there: set[str]
) -> list[dict[str, Any]]:
    """What a load tells of a fault: from the calm before it to the calm before the next, of the machines there."""
    return [
        each
        for each in told
        if each[key] is not None
        and at - CALM_S / 2 <= each[key] < until - CALM_S / 2
        and urlsplit(each["url"]).hostname in there
    ]


def cost(asked: Sequence[dict[str, Any]], cut: Sequence[dict[str, Any]], names: Sequence[str]) -> Cost:
    failed = [each for each in asked if each["status"] != 200]
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
    parser.add_argument("--seconds", type=float, default=300.0, help="Load for each kind of fault.")
    parser.add_argument("--rate", type=float, default=100.0, help="Requests a second through each ingress.")
    parser.add_argument("--times", type=int, default=3, help="How often each kind of fault happens.")
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"there is no fault {', '.join(sorted(unknown))}: choose from {', '.join(FAULTS)}")
    if (why := nodes.missing()) is not None:
        sys.exit(f"There are no machines here: {why}.")
    if "head killed and back" in (options.faults or FAULTS) and (why := redis_server.missing()) is not None:
        sys.exit(f"A head can't come back here: {why}.")
    table = Table(
        *COLUMNS,
        title=f"{options.times} times in {options.seconds:g} s, {options.rate:g} requests/s to each ingress",
    )
    console = Console()
    for fault in options.faults or FAULTS:
        costs = measure(fault, options.seconds, options.rate, options.times)
        columns = (
            ", ".join(str(each.failed) for each in costs),
            ", ".join(str(each.safe) for each in costs),
            ", ".join(f"{each.longest_s:.2f} s" for each in costs),
            ", ".join(str(each.cut) for each in costs),
            ", ".join(str(each.cut_elsewhere) for each in costs),
        )
        table.add_row(fault, str(sum(each.asked for each in costs)), *columns)
        console.print(f"{fault}: {'; '.join(columns)}", style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
