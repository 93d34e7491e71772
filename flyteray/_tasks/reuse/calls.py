"""Calls of reusable tasks go from the caller straight to a warm process that is free, as far as the caller knows.

A process that is not free says so at once, and the call tries the next one, or waits there for a while: who waits for a
slot is never bound to a process for longer than that.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.core.generated.gcs_pb2 import ActorTableData

from flyteray._actors import calls
from flyteray._actors.questions import ask
from flyteray._plan.actions.reuse import PoolPlan
from flyteray._plan.values.pickling import Payload, returned
from flyteray._tasks.call import Call
from flyteray._tasks.reuse.door import AT_ONCE, LATER, LOST, Busy, key_of, pool
from flyteray._tasks.waits import Waits
from flyteray.errors import ActionAbortedError, InitializationError, RuntimeSystemError

_KIND = "flyteray._tasks.reuse.pool:Pool"
_TELL_S = 0.5  # how often a pool is told that all of its replicas are busy
_PAUSE_S = 0.05  # after all of them were
_SOON_S = 0.02  # calls of warm tasks are short: the shortest way counts
_DEAD = ActorTableData.DEAD
_AGAIN = 5  # times to ask a pool, which may end just now


class Caller:
    """What this process knows of a pool: its replicas, and how many of its own calls each of them has."""

    def __init__(self, plan: PoolPlan) -> None:
        self._plan = plan
        self._replicas: dict[str, ActorHandle] = {}
        self._under_way: dict[str, int] = {}
        self._told_at = 0.0
        self._lost: set[str] = set()  # and the pool may not know yet
        self._change = threading.Lock()

    def ask(self, found_busy: bool) -> None:
        """Ask the pool for its replicas, and start it where there is none."""
        self._told_at = time.monotonic()
        left = _AGAIN
        while True:
            _start(self._plan)
            try:
                names = ask(pool(self._plan.name).replicas(found_busy, list(self._lost)))
                found = {name: self._replicas.get(name) or self._find(name) for name in names}
            except (InitializationError, RuntimeSystemError) as error:
                gone = isinstance(error, InitializationError) or error.code == "ActorDiedError"
                left -= 1
                if not gone or not left:
                    raise
                time.sleep(_PAUSE_S)
                continue
            with self._change:
                self._replicas = {name: handle for name, handle in found.items() if handle is not None}
                self._lost.intersection_update(found)
            if self._replicas:
                return

    def _find(self, name: str) -> ActorHandle | None:
        try:
            return calls.find(name)
        except InitializationError:  # it died just now
            self._lost.add(name)
            return None

    def begin(self, found_busy: bool) -> tuple[str, ActorHandle, int] | None:
        """The replica that has the fewest of this process's calls, with one more, and the number of replicas.

        None where the pool has to be asked first: none is known, or it is to know that all of them are busy.
        """
        with self._change:
            if found_busy and time.monotonic() - self._told_at > _TELL_S:
                return None
            while self._replicas:
                name = min(self._replicas, key=lambda name: self._under_way.get(name, 0))
                handle = self._replicas[name]
                if handle._get_local_state() != _DEAD:
                    self._under_way[name] = self._under_way.get(name, 0) + 1
                    return name, handle, len(self._replicas)
                # Ray would say of a call what that replica died of: as if the call were to blame for its memory.
                del self._replicas[name]
                self._lost.add(name)
            return None

    def end(self, name: str, lost: bool = False) -> None:
        """Take note that a replica has one call less; ``lost`` where it is none any more."""
        with self._change:
            left = self._under_way.pop(name, 1) - 1
            if left:
                self._under_way[name] = left
            if lost and self._replicas.pop(name, None) is not None:
                self._lost.add(name)


class PooledCall:
    """One attempt of an action in a pool, over all replicas that it tries."""

    def __init__(self, plan: PoolPlan, call: Call, arguments: Payload, root: bool = False) -> None:
        self._caller = _caller(plan)
        self._call = call
        data, *self._buffers = call.pack(arguments)
        self._data: bytes = data
        self._root = root
        self._tries = 0
        self._replica: tuple[str, ActorHandle] | None = None
        self._cancelled = False
        self._sent: Any = None

    def begin(self) -> None:
        """Call a replica where one is known: what the caller does before it waits costs no time then."""
        self._sent = self._send()

    def get(self, waits: Waits) -> Any:
        """Block for the value."""
        while True:
            while (ref := self._next()) is None:
                self._caller.ask(self._tries > 0)
            try:
                value = waits.get(ref, self.cancel, _SOON_S)
            except LOST:
                self._end(lost=True)
                raise
            except BaseException:
                self._end()
                raise
            self._end()
            if not isinstance(value, Busy):
                return returned(value)
            time.sleep(self._pause())

    async def get_async(self, waits: Waits) -> Any:
        """Await the value."""
        while True:
            while (ref := self._next()) is None:
                await asyncio.to_thread(self._caller.ask, self._tries > 0)
            try:
                value = await waits.get_async(ref, self.cancel)
            except LOST:
                self._end(lost=True)
                raise
            except BaseException:
                self._end()
                raise
            self._end()
            if not isinstance(value, Busy):
                return returned(value)
            await asyncio.sleep(self._pause())

    async def get_root(self) -> tuple[ray.ObjectRef, int]:
        """Await the root action of a run: the ref of its outputs, and their size."""
        while True:
            while (sent := self._next()) is None:
                await asyncio.to_thread(self._caller.ask, self._tries > 0)
            outputs, size = sent
            try:
                value = await size
            except LOST:
                self._end(lost=True)
                raise
            except BaseException:
                self._end()
                raise
            self._end()
            if not isinstance(value, Busy):
                return outputs, value
            await asyncio.sleep(self._pause())

    def cancel(self, _ref: object = None) -> None:
        """Cancel it, wherever it is."""
        self._cancelled = True
        if self._replica is not None:
            self._replica[1].cancel.remote(key_of(self._call))

    def _next(self) -> Any:
        """What was sent and is not waited for yet, or else as :meth:`_send`."""
        sent, self._sent = self._sent, None
        return self._send() if sent is None else sent

    def leave(self) -> None:
        """Cancel it, and wait for it no more."""
        self.cancel()
        if self._replica is not None:
            self._end()

    def _send(self) -> Any:
        """Call a replica: what Ray gives for its value, or None where the pool has to be asked first."""
        if self._cancelled:
            raise ActionAbortedError(f"Task {self._call.task!r} was cancelled.")
        begun = self._caller.begin(self._tries > 0)
        if begun is None:
            return None
        name, handle, known = begun
        self._replica = name, handle
        method = handle.execute_root if self._root else handle.execute
        when = AT_ONCE if self._tries < known else LATER
        return method.remote(when + self._data, *self._buffers)

    def _end(self, lost: bool = False) -> None:
        assert self._replica is not None
        self._caller.end(self._replica[0], lost)
        self._replica = None

    def _pause(self) -> float:
        self._tries += 1
        return _PAUSE_S


@functools.cache
def _caller(plan: PoolPlan) -> Caller:
    return Caller(plan)


def _start(plan: PoolPlan) -> None:
    """Start the actor of a pool unless there is one."""
    named = type("Pool", (calls.ActorHost,), {})  # what Ray and `ps` show
    options: dict[str, Any] = {
        "name": plan.name,
        "namespace": calls.NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
    }
    ray.remote(named).options(**options).remote(_KIND, plan)
