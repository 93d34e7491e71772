"""Tasks whose processes are kept for the next call."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import flyteray as flyte

outside = flyte.TaskEnvironment(name="reuse-outside")
env = flyte.TaskEnvironment(name="reuse", reusable=flyte.ReusePolicy(replicas=2, idle_ttl=30))
wide = flyte.TaskEnvironment(
    name="reuse-async", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=30, concurrency=4)
)


def brief(policy: flyte.ReusePolicy) -> flyte.ReusePolicy:
    """A policy with times that nobody may ask for: a test waits for their end."""
    for name in ("idle_ttl", "scaledown_ttl"):
        object.__setattr__(policy, name, timedelta(seconds=2))
    return policy


short = flyte.TaskEnvironment(name="reuse-short", reusable=brief(flyte.ReusePolicy(replicas=(0, 2))))
of_one_run = flyte.TaskEnvironment(
    name="reuse-of-one-run", reusable=brief(flyte.ReusePolicy(replicas=1, scope="run"))
)
secretive = flyte.TaskEnvironment(
    name="reuse-secretive",
    reusable=brief(flyte.ReusePolicy(replicas=1)),
    env_vars={"COLOUR": "green"},
    secrets="TOKEN_OF_REUSE",
)
one_cpu = flyte.TaskEnvironment(name="reuse-one-cpu", resources=flyte.Resources(cpu=1))
all_cpus = flyte.TaskEnvironment(name="reuse-all-cpus", resources=flyte.Resources(cpu=2))
calls: list[int] = []
running = 0


@env.task
def count(number: int) -> tuple[int, int]:
    calls.append(number)
    return os.getpid(), len(calls)


@env.task
def chain(depth: int) -> int:
    return 1 if depth == 1 else 1 + chain(depth - 1)


@env.task
def naps(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@env.task(timeout=1)
def sleeps_for_long() -> None:
    time.sleep(600)


@env.task
def dies_once(file: str) -> int:
    if not os.path.exists(file):
        open(file, "w").close()
        os._exit(1)
    return os.getpid()


@wide.task
async def meets(expected: int) -> tuple[int, int]:
    """How many of these have run at one time."""
    global running
    running += 1
    most = running
    deadline = time.monotonic() + 20
    while running < expected and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
        most = max(most, running)
    await asyncio.sleep(0.1)
    running -= 1
    return os.getpid(), most


@outside.task
def counts_to(number: int) -> list[tuple[int, int]]:
    return [count(each) for each in range(number)]


@outside.task
async def meets_all(number: int) -> list[tuple[int, int]]:
    return list(await asyncio.gather(*(meets.aio(number) for _ in range(number))))


@outside.task
async def naps_beside() -> set[int]:
    """The processes of calls beside one another, again and again until these are spread: a pool begins with one."""
    pids: set[int] = set()
    while len(pids) < 2:
        pids = set(await asyncio.gather(*(naps.aio(0.5) for _ in range(4))))
    return pids


@outside.task
def waits_for_one_that_sleeps() -> str:
    try:
        sleeps_for_long()
    except flyte.errors.MaxRuntimeExceededError as error:
        return str(error)
    return ""


@outside.task
def off(number: int) -> bool:
    """Whether a call without the pool was in another process than those of the pool."""
    warm = {count(each)[0] for each in range(3)}
    return count.override(reusable="off")(number)[0] not in warm


@outside.task
def in_which_thread() -> str:
    return threading.current_thread().name


@short.task
def briefly(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@outside.task
async def briefly_beside() -> list[int]:
    """Calls that last until there is a second process, and a last one after all others."""
    pids: set[int] = set()
    while len(pids) < 2:
        pids.update(await asyncio.gather(*(briefly.aio(0.3) for _ in range(4))))
    return sorted(pids)


@of_one_run.task
def where() -> int:
    return os.getpid()


@outside.task
def where_twice() -> list[int]:
    return [where(), where()]


@secretive.task
def given() -> tuple[int, str | None, bool]:
    """The process, a variable, and whether there is a secret."""
    return os.getpid(), os.environ.get("COLOUR"), "TOKEN_OF_REUSE" in os.environ


@env.task(cache=flyte.Cache("auto", version_override="1"))
def computed_at(number: int) -> float:
    return time.time()


@outside.task
def computes_twice(number: int) -> list[float]:
    return [computed_at(number), computed_at(number)]


@env.task
def holds(journal: str, gate: str) -> int:
    """Note the process, and stay until there is the gate."""
    with open(journal, "a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(gate).exists():
        time.sleep(0.02)
    return os.getpid()


@outside.task
async def holds_beside(journal: str, gate: str, number: int) -> list[int]:
    return list(await asyncio.gather(*(holds.aio(journal, gate) for _ in range(number))))


@one_cpu.task
def answers() -> str:
    return "answered"


@env.task
def asks_in_the_pool() -> str:
    return answers()


@all_cpus.task
def holds_all_and_asks() -> str:
    return asks_in_the_pool()
