"""Tasks that use Ray plainly, that are left by side doors, and that ask where they are."""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

import flyteray as flyte

env = flyte.TaskEnvironment(name="leaving")
small = flyte.TaskEnvironment(name="leaving-small", resources=flyte.Resources(cpu="50m", memory="10Mi"))


def _here() -> list[Any]:
    loops = type(asyncio.get_event_loop_policy()).__module__
    return [
        threading.current_thread() is threading.main_thread(),
        loops,
        Path(sys.argv[0]).name,
        len(sys.argv),
    ]


WHEN_IMPORTED = _here()


# Plain Ray


@ray.remote(num_cpus=1)
def one() -> int:
    return 1


@ray.remote(num_cpus=1)
def counts(to: int) -> Any:
    yield from [1] * to


@ray.remote(num_cpus=1)
class Counter:
    def __init__(self) -> None:
        self.is_main = threading.current_thread() is threading.main_thread()

    def one(self) -> int:
        return int(self.is_main)


@ray.remote(num_cpus=0)
class Later:
    async def one(self) -> int:
        await asyncio.sleep(0)
        return 1


@ray.remote(num_cpus=1)
def asks(counter: Any) -> int:
    return ray.get(counter.one.remote())


def wait_one_by_one(refs: list[Any]) -> int:
    total = 0
    while refs:
        ready, refs = ray.wait(refs)
        total += sum(ray.get(ready))
    return total


def in_threads() -> int:
    with ThreadPoolExecutor(3) as threads:
        return sum(threads.map(lambda _: ray.get(one.remote()), range(3)))


@env.task
def uses_ray(how: str) -> int:
    refs = (
        [] if how in ("threads", "actor", "generator", "handle", "data") else [one.remote() for _ in range(3)]
    )
    match how:
        case "get":
            return sum(ray.get(refs))
        case "get in time":
            return sum(ray.get(ref, timeout=300) for ref in refs)
        case "wait":
            return wait_one_by_one(refs)
        case "threads":
            return in_threads()
        case "future":
            return sum(ref.future().result() for ref in refs)
        case "generator":
            return sum(ray.get(ref) for ref in counts.remote(3))
        case "actor":
            counter = Counter.remote()
            return sum(ray.get([counter.one.remote(), counter.one.remote(), Later.remote().one.remote()]))
        case "handle":
            later = Later.remote()
            return sum(ray.get([asks.remote(later) for _ in range(3)]))
        case "data":
            return len(ray.data.range(3).map_batches(lambda batch: batch).take_all())
    raise AssertionError(how)


@env.task
async def uses_ray_async(how: str) -> int:
    refs = [one.remote() for _ in range(3)]
    match how:
        case "await":
            return sum([await ref for ref in refs])
        case "gather":
            return sum(await asyncio.gather(*refs))
        case "to_thread":
            return sum(await asyncio.to_thread(ray.get, refs))
    raise AssertionError(how)


@small.task
async def gives_back(handle: Any) -> Any:
    return handle


@env.task
async def passes_handles_around(times: int) -> int:
    later = Later.remote()
    handles = await asyncio.gather(*(gives_back.aio(later) for _ in range(times)))
    return sum(await asyncio.gather(*(handle.one.remote() for handle in handles)))


@env.task
def sees_rays_errors() -> list[str]:
    @ray.remote(num_cpus=0)
    def fails() -> None:
        raise KeyError("plain")

    @ray.remote(num_cpus=0)
    def sleeps() -> None:
        time.sleep(60)

    told = []
    for ref, seconds in ((fails.remote(), None), (sleeps.remote(), 0.1)):
        try:
            ray.get(ref, timeout=seconds)
        except (KeyError, ray.exceptions.GetTimeoutError) as error:
            told.append(type(error).__name__)
        finally:
            ray.cancel(ref)
    return told


# Side doors


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def leave(how: str) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int)
    match how:
        case "exit":
            sys.exit("bad configuration")
        case "exit well":
            sys.exit(0)
        case "argparse":
            parser.parse_args(["--rounds", "many"])
        case "generator":
            raise GeneratorExit
        case "interrupt":
            raise KeyboardInterrupt("mine")
        case "cancelled":
            raise asyncio.CancelledError("mine")
        case "base":
            raise BaseException("the root of all")
        case "surrogate":
            raise ValueError("bad \udc80 text\0")
        case "unspeakable":
            raise Unspeakable
        case "died":
            os._exit(3)


@env.task
def leaves(how: str) -> int:
    leave(how)
    return 1


@env.task
async def leaves_async(how: str) -> int:
    leave(how)
    return 1


@env.task
async def leaves_by_another(how: str) -> int:
    async def other() -> None:
        leave(how)

    beside = asyncio.create_task(other())
    await asyncio.sleep(60)
    await beside
    return 1


@env.task
async def asks_children(ways: list[str]) -> list[str]:
    told = []
    for how in ways:
        try:
            await leaves.aio(how)
        except flyte.errors.BaseRuntimeError as error:
            told.append(str(error))
    return told


@env.task
def exits_when_done() -> None:
    sys.exit()


@env.task
def sleeps_until_cancelled(begun: str, ended: str) -> None:
    try:
        Path(begun).touch()
        time.sleep(600)
    finally:
        Path(ended).write_text("cleaned up")


# Where it is


def ring(*_: Any) -> None:
    raise TimeoutError("rang")


def square(x: int) -> int:
    return x * x


@env.task
def looks_around() -> dict[str, Any]:
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        time.sleep(600)
    except TimeoutError as error:
        rang = str(error)

    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(square, (3,))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.apply(square, (4,))
    logging.basicConfig(level=logging.INFO)
    import __main__

    return {
        "here": _here(),
        "imported": WHEN_IMPORTED,
        "rang": rang,
        "loop": asyncio.run(loop()),
        "spawned": spawned,
        "forked": forked,
        "main": Path(__main__.__file__ or "").name,
        "level": logging.getLogger().level,
    }
