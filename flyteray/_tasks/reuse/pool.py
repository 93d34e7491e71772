"""A pool looks after the warm processes of an environment: as many as are needed, none when nobody uses them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from typing import Any

import ray
from ray.actor import ActorHandle

from flyteray._actors import calls
from flyteray._plan.actions.reuse import PoolPlan, ReplicaState, change
from flyteray._plan.spec import EnvironmentSpec
from flyteray._tasks.reuse.door import LOST, PoolDoor
from flyteray._tasks.reuse.replica import GROUPS, Replica
from flyteray._tasks.submission import task_options
from flyteray.errors import TaskInterruptedError

_LOOK_S = 1.0
_ANSWER_S = 10.0  # for a replica to say how it is; one that is in C can't

logger = logging.getLogger(__name__)


class Pool(PoolDoor):
    """The actor of one pool. Its replicas are detached and named: where it dies, the next one finds them."""

    def __init__(self, plan: PoolPlan) -> None:
        self._plan = plan
        self._replicas: dict[str, ActorHandle] = {}
        self._coming: dict[str, ActorHandle] = {}
        self._numbers = itertools.count(time.time_ns())
        self._used_at = time.monotonic()
        self._wanted = False
        self._awaited = 0
        self._why: BaseException | None = None
        self._look = asyncio.Event()
        self._changed = asyncio.Condition()
        for name in _names(f"{plan.name}-"):
            with contextlib.suppress(ValueError):
                self._coming[name] = ray.get_actor(name, namespace=calls.NAMESPACE)
        self._tasks = {asyncio.ensure_future(self._look_after())}
        for name in self._coming:
            self._await(name)

    async def replicas(self, found_busy: bool, lost: list[str]) -> list[str]:
        self._used_at = time.monotonic()
        await asyncio.gather(*(self._state(name) for name in lost))
        if found_busy or not self._replicas:
            self._wanted = True
            self._look.set()
        if not self._replicas:
            self._why = None
            self._awaited += 1
            try:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._replicas or self._why is not None)
            finally:
                self._awaited -= 1
            if not self._replicas:
                raise TaskInterruptedError(
                    "TaskInterruptedError", f"No process of the pool could be started: {self._why}"
                )
        return list(self._replicas)

    async def _look_after(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), _LOOK_S)
            self._look.clear()
            try:
                await self._change()
            except Exception as error:
                logger.exception("Looking after pool %s failed; it is tried again", self._plan.name)
                await self._tell(error)

    async def _change(self) -> None:
        states = await asyncio.gather(*(self._state(name) for name in list(self._replicas)))
        wanted, self._wanted = self._wanted, False
        needed = change(
            self._plan.reuse,
            [state for state in states if state is not None],
            len(self._coming),
            wanted,
            0.0 if self._awaited else time.monotonic() - self._used_at,
        )
        for _ in range(needed.start):
            self._start()
        for name in needed.stop:
            await self._stop(name)
        if needed.over and not self._replicas and not self._coming:
            ray.kill(calls.find(self._plan.name), no_restart=True)

    async def _state(self, name: str) -> ReplicaState | None:
        """How a replica is; one that has died is forgotten."""
        handle = self._replicas.get(name)
        if handle is None:
            return None  # somebody else has found it dead meanwhile
        try:
            asked = asyncio.wrap_future(handle.state.remote().future())
            return ReplicaState(name, *await asyncio.wait_for(asked, _ANSWER_S))
        except asyncio.TimeoutError:
            return ReplicaState(name, self._plan.reuse.concurrency, 1, 0.0)
        except LOST:
            self._replicas.pop(name, None)
            return None

    def _start(self) -> None:
        name = f"{self._plan.name}-{next(self._numbers)}"
        kind = ray.remote(concurrency_groups=GROUPS)(Replica)
        self._coming[name] = kind.options(**_options(self._plan, name)).remote(self._plan.reuse.concurrency)
        self._await(name)

    def _await(self, name: str) -> None:
        task = asyncio.ensure_future(self._welcome(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _welcome(self, name: str) -> None:
        """Wait until a replica that was started answers."""
        handle = self._coming[name]
        try:
            await asyncio.wrap_future(handle.state.remote().future())
            self._replicas[name] = handle
            why = None
        except Exception as error:  # noqa: BLE001  # told to who waits for it
            why = error
        del self._coming[name]
        await self._tell(why)

    async def _tell(self, why: BaseException | None) -> None:
        """Tell those who wait for a replica that there is one, or why there is none."""
        self._why = why
        async with self._changed:
            self._changed.notify_all()

    async def _stop(self, name: str) -> None:
        handle = self._replicas.get(name)
        if handle is None:
            return
        try:
            if await asyncio.wrap_future(handle.retire.remote().future()):
                self._replicas.pop(name, None)
                ray.kill(handle)
        except LOST:
            self._replicas.pop(name, None)


def _options(plan: PoolPlan, name: str) -> dict[str, Any]:
    environment = EnvironmentSpec.model_validate_json(plan.environment)
    options = task_options(environment, plan.bundle, plan.start)
    del options["max_retries"]
    # It takes CPUs as its calls do, and those wait for one another: reserved, the pools of a small cluster would
    # wait for each other for ever.
    return options | {
        "num_cpus": 0,
        "name": name,
        "namespace": calls.NAMESPACE,
        "lifetime": "detached",
        "max_restarts": 0,
        "max_task_retries": 0,
    }


def _names(prefix: str) -> list[str]:
    """The names of the actors that begin so."""
    found = ray.util.list_named_actors(all_namespaces=True)
    return [
        each["name"]
        for each in found
        if each["namespace"] == calls.NAMESPACE and each["name"].startswith(prefix)
    ]
