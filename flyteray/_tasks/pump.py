"""The user's function beside the main thread, which gives the CPU back while children are awaited.

Ray releases a waiting task's CPU only for ``ray.get`` and ``ray.wait`` on the worker's main thread. So the user's
function runs on a thread of its own, results reach it through callbacks, and the main thread sits in ``ray.wait``
on whatever is outstanding: a parent that waits never starves the children it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from typing import Any, NamedTuple, TypeVar

import ray

T = TypeVar("T")

_RECHECK_S = 0.5  # how soon the main thread notices that it is interrupted, or a child was left behind
_FEW = 16  # children whose ends are told at once; those of more are collected
_COLLECT_S = (0.05, 0.2)  # how often: at first, and while nothing ends; all at once when the last one ends
_GRACE_S = 5.0  # for a cancelled function to end by itself; then its process ends
_EXIT_CANCELLED = 143  # as a process that SIGTERM ended


class Cancelled(BaseException):
    """Raised inside a user's sync function whose action is cancelled; not an Exception, so it is rarely caught."""


class _Awaited(NamedTuple):
    """What the main thread waits for: ``ref``, until ``future`` is done, whose value it brings if ``collected``."""

    ref: ray.ObjectRef
    future: Future[Any]
    collected: bool = False


class Pump:
    """Runs one user function at a time; lives as long as its worker process.

    The thread and its event loop are kept between calls, so that clients that users cache in module globals
    stay bound to a loop that runs.
    """

    def __init__(self) -> None:
        self._awaited: queue.SimpleQueue[_Awaited | None] = queue.SimpleQueue()
        self._pending: dict[ray.ObjectRef, Future[Any]] = {}
        self._user = _UserThread()

    def run(self, function: Callable[[], T]) -> T:
        """Run ``function`` on the user's thread; the calling (main) thread releases its CPU while children run.

        When the action is cancelled (Ray interrupts the main thread), the user's function is cancelled,
        and so is every child that is still pending.
        """
        awaited: queue.SimpleQueue[_Awaited | None] = queue.SimpleQueue()
        self._awaited = awaited  # a new one: what an earlier function left behind is not waited for
        result = self._user.submit(function)
        result.add_done_callback(lambda _: awaited.put(None))
        try:
            self._release_until_done(result)
        except KeyboardInterrupt:
            # On a thread of its own: Ray may interrupt this one again, in the middle of it.
            ending = threading.Thread(target=self._end, args=(result,), name="flyteray-cancel")
            ending.start()
            while ending.is_alive():
                with contextlib.suppress(KeyboardInterrupt):
                    ending.join(_RECHECK_S)
            raise
        self._cancel_children()
        return result.result()

    def watch(self, ref: ray.ObjectRef) -> Future[Any]:
        """A future for the value of ``ref``; cancelling it cancels the task behind it."""
        # Ray's own future costs about as much as a call: with a thousand at once that is what counts.
        many = len(self._pending) >= _FEW
        future: Future[Any] = Future() if many else ref.future()
        self._pending[ref] = future
        future.add_done_callback(lambda _: self._forget(ref, future))
        self._awaited.put(_Awaited(ref, future, collected=many))
        return future

    def release(self, ref: ray.ObjectRef, until: Future[Any]) -> None:
        """Give the CPU back until ``until`` is done, which ``ref`` will cause; nothing is cancelled with it."""
        self._awaited.put(_Awaited(ref, until))

    def _release_until_done(self, result: Future[Any]) -> None:
        waiting: dict[ray.ObjectRef, _Awaited] = {}
        pause, longest = _COLLECT_S
        while not result.done():
            # Ray's interrupt is seen between waits only, never within one: hence the timeouts.
            waiting.update((each.ref, each) for each in self._newly_awaited(block=not waiting))
            refs = [ref for ref, each in waiting.items() if not each.future.done()]
            if refs:
                timeout = pause if any(waiting[ref].collected for ref in refs) else _RECHECK_S
                # All at once: each wait that blocks is a message to Ray's scheduler, and so is its end.
                ready, refs = ray.wait(refs, num_returns=len(refs), timeout=timeout, fetch_local=False)
                _collect([waiting[ref] for ref in ready if waiting[ref].collected])
                pause = _COLLECT_S[0] if ready else min(2 * pause, longest)
            waiting = {ref: waiting[ref] for ref in refs}

    def _newly_awaited(self, block: bool) -> Iterator[_Awaited]:
        with contextlib.suppress(queue.Empty):
            first = self._awaited.get(timeout=_RECHECK_S) if block else self._awaited.get_nowait()
            while first is not None:
                yield first
                first = self._awaited.get_nowait()

    def _forget(self, ref: ray.ObjectRef, future: Future[Any]) -> None:
        self._pending.pop(ref, None)
        if future.cancelled():
            ray.cancel(ref, force=False, recursive=True)

    def _end(self, result: Future[Any]) -> None:
        interrupted, self._user = self._user, _UserThread()
        self._cancel_children()
        interrupted.end()
        if not wait([result], timeout=_GRACE_S).done:
            os._exit(_EXIT_CANCELLED)  # the only way to end code that sits in C or ignores cancellation

    def _cancel_children(self) -> None:
        for future in list(self._pending.values()):
            future.cancel()

    def drive(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function to its end on the kept event loop; only from within :meth:`run`."""
        return self._user.drive(function)


class _UserThread:
    """A thread for the user's functions, one at a time, and the event loop of those that are coroutines."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._current: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._serve, name="flyteray-user", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        result: Future[T] = Future()
        self._work.put(lambda: _settle(result, function))
        return result

    def drive(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def body() -> T:
            self._current = asyncio.current_task()
            try:
                return await function()
            finally:
                await _end_others()

        return self._loop.run_until_complete(body())

    def end(self) -> None:
        """Cancel what runs, and end the thread after it: an exception sent to a thread may arrive any time later."""
        self._work.put(None)
        if self._current is not None and not self._current.done():
            self._loop.call_soon_threadsafe(self._current.cancel)
        elif self._thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(Cancelled)
            )

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(Cancelled):
            while (work := self._work.get()) is not None:
                work()


def _collect(ended: list[_Awaited]) -> None:
    ended = [each for each in ended if each.future.set_running_or_notify_cancel()]
    try:
        values = ray.get([each.ref for each in ended])
    except Exception:  # noqa: BLE001  # of one of them: each has to learn its own
        for each in ended:
            try:
                each.future.set_result(ray.get(each.ref))
            except Exception as error:  # noqa: BLE001  # whoever awaits it raises it
                each.future.set_exception(error)
    else:
        for each, value in zip(ended, values, strict=True):
            each.future.set_result(value)


def _settle(result: Future[T], function: Callable[[], T]) -> None:
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001  # whatever it is, the main thread raises it
        result.set_exception(error)
    else:
        result.set_result(value)


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
