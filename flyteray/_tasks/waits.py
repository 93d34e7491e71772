"""Waits of a worker's threads are shared by the one thread that gives the CPU back meanwhile.

Ray releases a task's CPU for waits of one thread alone: the one that it was started on. In a worker of flyteray that
thread shares the waits of all others, in all of Ray's ways, so a task that waits never starves what it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import ray
import ray._raylet
from ray.exceptions import GetTimeoutError

from flyteray._tasks.cancels import cancel

T = TypeVar("T")

_RECHECK_S = 0.5  # how soon it is noticed that nobody waits for a ref any more
_FEW = 16  # values that are told of at once; those of more are collected
_COLLECT_S = (0.05, 0.2)  # how often: at first, and while nothing ends; all at once when the last one ends
_COLLECT_EACH_S = 0.0001  # not more often than this for each: a look at a thousand takes milliseconds


Cancel = Callable[[ray.ObjectRef], object]
"""Cancels the task behind a ref."""


class _Wait(NamedTuple):
    """A ref that is waited for until ``over``; ``alone`` where others that are waited for with it may stay away.

    Its value is brought to ``collected``, where that is given.
    """

    ref: Any
    over: Callable[[], bool]
    alone: bool = False
    collected: asyncio.Future[Any] | None = None


class Waits:
    """The waits of a process, and the thread of Ray's that shares them while a function runs on another one.

    ``tells`` says whether Ray's own link tells of every wait, because :func:`core_worker` made it.
    """

    def __init__(self) -> None:
        self._new: queue.SimpleQueue[_Wait | None] = queue.SimpleQueue()
        self._pending: dict[ray.ObjectRef, tuple[Future[Any] | asyncio.Future[Any], Cancel]] = {}
        self._left: list[_Wait] = []  # that are to be shared on
        self._sharer: int | None = None
        self._keeping: set[int] = set()  # threads that wait for a moment, and keep the CPU
        self.tells = False

    @property
    def are_shared(self) -> bool:
        """Whether a function runs on another thread than the one that shares them."""
        return self._sharer is not None

    def begin(self) -> None:
        """Begin to share waits by this thread, whose waits release the CPU; :meth:`end` must follow."""
        self._new, self._left = queue.SimpleQueue(), []  # without waits that an earlier function left behind
        self._sharer = threading.get_ident()

    def share(self, is_over: Callable[[], bool]) -> None:
        """Share all waits until that is over which this thread waits for; :meth:`recheck` says when to look."""
        new = self._new
        waiting, self._left = self._left, []
        pause, longest = _COLLECT_S
        while not is_over():
            waiting += self._taken(new, block=not waiting)
            waiting = [each for each in waiting if not each.over()]
            refs = list(dict.fromkeys(each.ref for each in waiting))
            if refs:
                collects = any(each.collected for each in waiting)
                # All at once: each wait that blocks is a message to Ray's scheduler, and so is its end.
                enough = 1 if any(each.alone for each in waiting) else len(refs)
                timeout = max(pause, len(refs) * _COLLECT_EACH_S) if collects else _RECHECK_S
                ready, _ = ray.wait(refs, num_returns=enough, timeout=timeout, fetch_local=False)
                here = set(ready)
                _collect([each for each in waiting if each.collected and each.ref in here])
                waiting = [each for each in waiting if each.ref not in here]
                pause = _COLLECT_S[0] if ready else min(2 * pause, longest)
        self._left = waiting

    def end(self) -> None:
        """End to share waits: the function is over."""
        self._sharer = None

    def recheck(self) -> None:
        """Let the thread that shares the waits look at once whether it still has to."""
        self._new.put(None)

    @contextlib.contextmanager
    def release_cpu(self, refs: Iterable[Any], enough: int | None = None) -> Iterator[None]:
        """Free the CPU while a thread waits in here for ``refs``, or for as many of them as are enough."""
        here = threading.get_ident()
        if self._sharer in (None, here) or here in self._keeping:
            yield
            return
        refs = list(refs)
        over: list[bool] = []
        for ref in refs:
            self._new.put(_Wait(ref, lambda: bool(over), alone=enough is not None and enough < len(refs)))
        try:
            yield
        finally:
            over.append(True)

    def wrap_callback(self, ref: ray.ObjectRef, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Free the CPU until Ray calls a callback with the value of ``ref``; returns the callback for Ray."""
        if self._sharer is None:
            return callback
        over: list[bool] = []
        # One that is cancelled is awaited no more.
        future: Future[Any] | None = getattr(callback, "keywords", {}).get("py_future")

        def call(*args: Any) -> Any:
            over.append(True)
            return callback(*args)

        self._new.put(_Wait(ref, lambda: bool(over) or (future is not None and future.done())))
        return call

    def get(self, ref: ray.ObjectRef, end: Cancel = cancel, soon_s: float = 0.0) -> Any:
        """Block for the value of ``ref``; :meth:`cancel` and any interrupt cancel the task behind it.

        One that is there within ``soon_s`` seconds comes by Ray's shortest way, which hears of no cancel before. The
        CPU is kept meanwhile: another thread would have to give it back, by two messages.
        """
        if soon_s:
            here = threading.get_ident()
            self._keeping.add(here)
            try:
                return ray.get(ref, timeout=soon_s)
            except GetTimeoutError:
                pass
            except KeyboardInterrupt:
                end(ref)
                raise
            finally:
                self._keeping.discard(here)
        future = self._own(ref)
        with self._until_ended(ref, future, end):
            return future.result()

    async def get_async(self, ref: ray.ObjectRef, end: Cancel = cancel) -> Any:
        """Await the value of ``ref``; cancelling that cancels the task behind it."""
        # Ray's own future costs about as much as a call: with a thousand at once that is what counts.
        if len(self._pending) < _FEW:
            future = asyncio.wrap_future(self._own(ref))
        else:
            future = asyncio.get_running_loop().create_future()
            self._new.put(_Wait(ref, future.done, collected=future))
        with self._until_ended(ref, future, end):
            return await future

    async def until(self, told: Awaitable[T]) -> T:
        """Await what is told of tasks in another way than by their refs."""
        return await told

    def cancel(self) -> None:
        """Cancel the tasks behind all refs that :meth:`get` and :meth:`get_async` wait for."""
        for ref, (future, end) in list(self._pending.items()):
            if isinstance(future, Future):
                future.cancel()  # its thread may never look at it otherwise
            end(ref)

    def _own(self, ref: ray.ObjectRef) -> Future[Any]:
        future: Future[Any] = ref.future()
        if not self.tells:
            self._new.put(_Wait(ref, future.done))
        return future

    @contextlib.contextmanager
    def _until_ended(
        self, ref: ray.ObjectRef, future: Future[Any] | asyncio.Future[Any], end: Cancel
    ) -> Iterator[None]:
        self._pending[ref] = future, end
        try:
            yield
        finally:
            self._pending.pop(ref, None)
            if not future.done() or future.cancelled():
                end(ref)

    def _taken(self, new: queue.SimpleQueue[_Wait | None], block: bool) -> Iterator[_Wait]:
        with contextlib.suppress(queue.Empty):
            wait = new.get(timeout=_RECHECK_S) if block else new.get_nowait()
            while wait is not None:
                yield wait
                wait = new.get_nowait()


def core_worker(waits: Waits) -> type[ray._raylet.CoreWorker]:
    """Ray's own link to its cluster, whose waits of every kind are shared by ``waits``."""
    waits.tells = True

    class CoreWorker(ray._raylet.CoreWorker):  # type: ignore[misc] # compiled
        def get_objects(self, object_refs: list[Any], timeout_ms: int = -1, *rest: Any) -> Any:
            """Behind ``ray.get``."""
            with waits.release_cpu(object_refs):
                return super().get_objects(object_refs, timeout_ms, *rest)

        def wait(self, waitables: list[Any], num_returns: int, timeout_ms: int, *rest: Any) -> Any:
            """Behind ``ray.wait`` and the iteration of generators."""
            if timeout_ms == 0:
                return super().wait(waitables, num_returns, timeout_ms, *rest)
            with waits.release_cpu(waitables, num_returns):
                return super().wait(waitables, num_returns, timeout_ms, *rest)

        def set_get_async_callback(self, object_ref: Any, callback: Callable[..., Any]) -> Any:
            """Behind ``await ref`` and ``ref.future()``."""
            return super().set_get_async_callback(object_ref, waits.wrap_callback(object_ref, callback))

    return CoreWorker


class Ended(NamedTuple):
    """A value or an error on its way to the coroutine that awaits it."""

    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


def _collect(ended: list[_Wait]) -> None:
    """Bring values to the coroutines that await them: with one message to their loop, however many they are."""
    futures = [(each.ref, each.collected) for each in ended if each.collected is not None]
    try:
        values = ray.get([ref for ref, _ in futures])
    except Exception:  # noqa: BLE001  # of one of them: each has to learn its own
        outcomes = [_outcome(ref, future) for ref, future in futures]
    else:
        outcomes = [Ended(future, value) for (_, future), value in zip(futures, values, strict=True)]
    tell(outcomes)


def tell(ended: Iterable[Ended]) -> None:
    """Bring values and errors to the coroutines that await them, from any thread: by one message to each loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Ended]] = {}
    for each in ended:
        loops.setdefault(each.future.get_loop(), []).append(each)
    for loop, told in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits them any more
            loop.call_soon_threadsafe(settle, told)


def _outcome(ref: ray.ObjectRef, future: asyncio.Future[Any]) -> Ended:
    try:
        return Ended(future, ray.get(ref))
    except Exception as error:  # noqa: BLE001  # raised where it is awaited
        return Ended(future, error=error)


def settle(outcomes: Iterable[Ended]) -> None:
    """As :func:`tell`, in the loop of them all."""
    for future, value, error in outcomes:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
