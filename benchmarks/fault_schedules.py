"""Does a run that has faults at random do all its work, each piece of it once?

    python -m benchmarks.fault_schedules [--schedules 50] [--seed 1] [--actions 500]

Each schedule kills keeper, controller, workers and the raylet of a second node, which then comes back, at random times
of one run, whose actions and traces write to a journal when they begin and when they end. The checker reads the
journal, the records and the storage: the run has to succeed, each action to be recorded once, and none to begin whose
outputs were kept already. A printed seed replays its schedule.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
from ray.cluster_utils import Cluster

import flyteray as flyte
from benchmarks import harness
from flyteray._plan.values.kept_outputs import KeptOutputs
from tests.processes import words

env = flyte.TaskEnvironment(name="faults", resources=flyte.Resources(cpu=0.5))

KINDS = ("keeper", "controller", "worker", "worker", "raylet")
AT_ONCE = 20
TRACED = 5  # one of so many pieces of work is a traced function
CACHED = 5  # and one a cached task
PIECE_S = 0.02
_STORE_BYTES = 100_000_000


class Fault(NamedTuple):
    """One kill: so many seconds after the run has begun."""

    after_s: float
    kind: str


def schedule(seed: int, length_s: float) -> list[Fault]:
    """The faults of a seed, in order."""
    chosen = random.Random(seed)
    count = chosen.randint(2, 5)
    return sorted(Fault(chosen.uniform(0.5, length_s), chosen.choice(KINDS)) for _ in range(count))


def note(journal: str, word: str, piece: str) -> None:
    line = f"{word} {piece}\n".encode()
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)  # at once, so that lines of several processes stay whole
    finally:
        os.close(file)


def work(journal: str, number: int) -> int:
    """One piece of work, whose end must not be kept yet when it begins."""
    action = flyte.ctx().action
    assert action is not None
    root = os.environ["FLYTERAY_STORAGE"]
    traced = (Path(root) / "runs" / action.run_name / action.name / "trace").exists()
    done = traced or KeptOutputs(root, action.run_name).have(action.name)
    note(journal, "again" if done else "begin", str(number))
    time.sleep(PIECE_S)
    note(journal, "end", str(number))
    return number


@env.task
def piece(journal: str, number: int) -> int:
    return work(journal, number)


@env.task(cache="auto")
def cached_piece(journal: str, number: int) -> int:
    return work(journal, number)


@flyte.trace
async def traced_piece(journal: str, number: int) -> int:
    return await asyncio.to_thread(work, journal, number)


# Three ends of its process are forgiven, and a schedule may have four.
@env.task(retries=5)
async def everything(journal: str, actions: int) -> int:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with room:
            if number % TRACED == 0:
                return await traced_piece(journal, number)
            if number % CACHED == 1:
                return await cached_piece.aio(journal, number)
            return await piece.aio(journal, number)

    return sum(await asyncio.gather(*map(one, range(actions))))


class TwoNodes:
    """A Ray cluster of a head and a second node, whose raylet is killed and begun again."""

    def __init__(self) -> None:
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": _STORE_BYTES}
        )
        self.address: str = self._cluster.address
        self._add(wait=True)

    def _add(self, wait: bool) -> None:
        self._second = self._cluster.add_node(wait=wait, num_cpus=1, object_store_memory=_STORE_BYTES)

    def kill_second(self) -> None:
        """Kill the raylet of the second node at once, and begin another one."""
        raylet(self._second).kill()
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._add(wait=False)

    def victims(self, kind: str) -> list[psutil.Process]:
        """The processes of the nodes that a fault may kill."""
        begins = {"keeper": "ray::Keeper", "controller": "ray::Controller", "worker": "ray::execute"}[kind]
        found = []
        for node in (self._cluster.head_node, self._second):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += raylet(node).children(recursive=True)
        return [each for each in found if "".join(words(each)[:1]).startswith(begins)]

    def end(self) -> None:
        """End both."""
        ray.shutdown()
        self._cluster.shutdown()


def raylet(node: Any) -> psutil.Process:
    """The raylet of a node."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


@contextlib.contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """A cluster of two nodes in a temporary home, to which flyteray's verbs connect."""
    with tempfile.TemporaryDirectory(prefix="flyteray-bench-", ignore_cleanup_errors=True) as home:
        harness.forget_settings()
        os.environ |= {
            "FLYTERAY_HOME": home,
            "FLYTERAY_STORAGE": f"{home}/storage",
            "FLYTERAY_PORT": str(harness.free_port()),
        }
        nodes = TwoNodes()
        os.environ["RAY_ADDRESS"] = nodes.address
        try:
            yield nodes
        finally:
            nodes.end()


def kill(kind: str, chosen: random.Random, nodes: TwoNodes) -> str:
    if kind == "raylet":
        nodes.kill_second()
        return kind
    for _ in range(200):  # a worker is one for as long as a piece of work
        if found := sorted(nodes.victims(kind), key=lambda process: process.pid):
            break
        time.sleep(0.01)
    else:
        return f"no {kind} there"
    one = chosen.choice(found)
    try:
        one.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return f"the {kind} had ended"
    return kind


def problems(run: flyte.remote.Run, journal: Path, actions: int) -> list[str]:
    """What is not as it has to be."""
    found = []
    if run.phase is not flyte.remote.ActionPhase.SUCCEEDED:
        return [f"the run {run.phase}: {run.info.error and run.info.error.summary}"]
    if run.outputs()[0] != sum(range(actions)):
        found.append("the output is wrong")
    lines = [line.split() for line in journal.read_text().splitlines()]
    ended = Counter(number for word, number in lines if word == "end")
    if missing := actions - len(ended):
        found.append(f"{missing} pieces were never done")
    if again := [number for word, number in lines if word == "again"]:
        found.append(f"{len(again)} pieces began again that were kept: {again[:5]}")
    deadline = time.monotonic() + 30
    while True:  # workers report in batches
        recorded = run.actions()
        phases = Counter(str(each.phase) for each in recorded)
        if phases == {"succeeded": actions + 1}:
            break
        if time.monotonic() > deadline:
            found.append(f"recorded are {dict(phases)} instead of {actions + 1} that succeeded")
            found += [
                f"{each.task} {each.action}: {each.phase}, attempt {each.attempts}, {each.error}"
                for each in recorded
                if str(each.phase) != "succeeded"
            ]
            break
        time.sleep(0.2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", type=int, default=50)
    parser.add_argument(
        "--seed", type=int, default=1, help="the first one; each further schedule has the next"
    )
    parser.add_argument("--actions", type=int, default=500)
    given = parser.parse_args()
    rows: list[list[object]] = []
    with two_nodes() as nodes, tempfile.TemporaryDirectory() as folder:
        flyte.init()
        calm = time.monotonic()
        journal = Path(folder) / "calm"
        run = flyte.run(everything, str(journal), given.actions)
        run.wait()
        calm_s = time.monotonic() - calm
        harness.progress(
            f"without faults: {calm_s:.1f} s, problems: {problems(run, journal, given.actions) or 'none'}"
        )
        for seed in range(given.seed, given.seed + given.schedules):
            journal = Path(folder) / str(seed)
            chosen = random.Random(seed)
            began = time.monotonic()
            run = flyte.run(everything, str(journal), given.actions)
            done = []
            for fault in schedule(seed, calm_s):
                time.sleep(max(0.0, began + fault.after_s - time.monotonic()))
                done.append(f"{kill(fault.kind, chosen, nodes)} at {fault.after_s:.1f} s")
            run.wait()
            took = time.monotonic() - began
            bad = problems(run, journal, given.actions)
            twice = sum(
                count - 1
                for count in Counter(
                    line.split()[1] for line in journal.read_text().splitlines() if line.startswith("end")
                ).values()
            )
            rows.append([seed, ", ".join(done), f"{took:.1f}", twice, "; ".join(bad) or "none"])
            harness.progress(
                f"seed {seed}: {', '.join(done)}: {took:.1f} s, problems: {'; '.join(bad) or 'none'}"
            )
    harness.report(
        "fault_schedules",
        f"{given.schedules} schedules of a run of {given.actions} actions; {calm_s:.1f} s without faults",
        ["seed", "killed", "s", "done twice, as the end was not kept", "problems"],
        rows,
        {"rows": rows, "calm_s": calm_s},
    )


if __name__ == "__main__":
    main()
