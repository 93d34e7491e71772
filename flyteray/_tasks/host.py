"""A host is a worker process in which Python's main thread is the user's, and Ray's loop runs on a thread beside it.

Tasks of flyteray, and plain tasks and actors that they start, are handed by Ray's thread to the main thread, where a
script would run them: signal handlers can be set, event loops are free, Ctrl+C interrupts. Ray's thread shares the
waits meanwhile (:mod:`flyteray._tasks.waits`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import queue
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import FrameType, GeneratorType
from typing import Any, TypeVar

import ray
import ray._private.async_compat
import ray._private.utils
import ray._private.worker
import ray._raylet

from flyteray._machine.alarms import alarms
from flyteray._tasks.forks import ForkExit
from flyteray._tasks.timeouts.ending import end_process, own_watchman
from flyteray._tasks.waits import Waits

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_ON_RAYS_THREAD = "_flyteray_on_rays_thread"

WAY_S = 0.1  # for one that gives way to be over
SOFT_S = 1.0  # for a cancelled coroutine to end; then what blocks it is interrupted
GRACE_S = 1.0  # and for any function after that; then its process ends
WATCHMAN_S = 0.5  # after that it is ended from outside
EXIT_CANCELLED = 143  # as a process that SIGTERM ended


def on_rays_thread(function: F) -> F:
    """Have Ray's thread call a function itself: it runs on the user's what is to run there."""
    setattr(function, _ON_RAYS_THREAD, True)
    return function


class _Job:
    """One function on the user's thread, and its result once it is over.

    There is one for each call of a task: a ``Future`` would cost more than all the rest.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.value: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.timed_out = False
        self.softly = False  # its coroutine was asked to end
        self.give_way: Callable[[], bool] = lambda: False  # what a cancel asks first
        self.coroutine: asyncio.Task[Any] | None = None
        self._over = False
        self._runs = threading.Lock()
        self._runs.acquire()

    def end(self) -> None:
        """End, on the user's thread."""
        self._over = True
        self._runs.release()

    def is_over(self) -> bool:
        """Whether the function has returned or raised."""
        return self._over

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; False where it takes longer."""
        if self._runs.acquire(timeout=seconds):
            self._runs.release()
        return self._over


class Host:
    """The user's thread of this process, the job that runs on it, and the event loop that is kept for it."""

    def __init__(self) -> None:
        self.waits = Waits()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._job: _Job | None = None
        self._change = threading.Lock()  # of the job
        self._interruptible = False
        self._thread: int | None = None
        self.ray_thread: int | None = None  # that on which Ray calls what is to run here
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stage: Host | None = None  # where this process runs several functions at one time
        self.last_words: Callable[[], object] = lambda: None  # said before this process ends itself

    # On Ray's thread

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function on the user's thread, and give the CPU back while it waits.

        Raises KeyboardInterrupt when it was cancelled, which Ray takes for a cancelled task.
        """
        if threading.get_ident() == self._thread:
            return function(*args, **kwargs)
        job = _Job(functools.partial(function, *args, **kwargs))
        self._begin(job)
        self._share(job, job.is_over)
        return self._result(job)  # type: ignore[no-any-return]

    def run_until(
        self, function: Callable[[], object], is_due: Callable[[], bool], softly: Callable[[], bool]
    ) -> Iterator[None]:
        """Run a function as :meth:`run` does, and give control in between, once, when something is due.

        Whoever makes it due has the waits rechecked. A cancel calls ``softly`` first, and interrupts where that was of
        no use: it returns False, or the function goes on.
        """
        job = _Job(function)
        job.give_way = softly
        self._begin(job)
        self._share(job, lambda: job.is_over() or is_due())
        yield
        self._share(job, job.is_over)
        self._result(job)

    def _begin(self, job: _Job) -> None:
        self.waits.begin()
        self._jobs.put(job)

    def _share(self, job: _Job, is_over: Callable[[], bool]) -> None:
        try:
            self.waits.share(is_over)
        except KeyboardInterrupt:  # only where Ray has Python's main thread
            self._cancel(job)
            while not job.is_over():
                with contextlib.suppress(KeyboardInterrupt):
                    job.ends_within(GRACE_S)

    def _result(self, job: _Job) -> Any:
        self.waits.end()
        self.waits.cancel()  # those that it has left behind
        if job.error is None:
            return job.value
        if job.cancelled and not job.timed_out:
            raise KeyboardInterrupt from None
        raise job.error

    def adopt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function to run on the user's thread where Ray calls it on its own, and elsewhere as it is."""
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return function
        if getattr(function, _ON_RAYS_THREAD, False):
            return function

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self.ray_thread:
                return function(*args, **kwargs)
            value = self.run(function, *args, **kwargs)
            return self._stepwise(value) if isinstance(value, GeneratorType) else value

        return call

    def _stepwise(self, generator: GeneratorType[Any, Any, Any]) -> Generator[Any, Any, Any]:
        def step(sent: Any) -> tuple[Any, bool]:
            try:
                return generator.send(sent if _listens(generator) else None), False
            except StopIteration as end:
                return end.value, True

        sent = None  # Ray sends how long it took to store the value before: Ray Data counts on it
        while True:
            value, ended = self.run(step, sent)
            if ended:
                return value
            sent = yield value

    # On the user's thread

    def serve(self) -> None:
        """Run jobs as they come, one after the other, until :meth:`close`."""
        self._thread = threading.get_ident()
        if self._is_hosted:
            signal.signal(signal.SIGINT, self._on_interrupt)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in all that it starts
        self._loop = asyncio.new_event_loop()
        while (job := self._jobs.get()) is not None:
            self._perform(job)
            del job  # its result may be large

    def close(self) -> None:
        """Let :meth:`serve` return when it has done the jobs that it was given."""
        self._jobs.put(None)

    def drive(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function to its end on the kept event loop; for a function that :meth:`run` runs.

        The loop is kept between functions, so that clients that users cache in module globals stay bound to a loop
        that runs.
        """
        job, loop = self._job, self._loop
        assert job is not None
        assert loop is not None
        job.coroutine = loop.create_task(function())
        try:
            with ForkExit():
                value: T = loop.run_until_complete(job.coroutine)
            return value
        finally:
            # SystemExit and KeyboardInterrupt of any coroutine leave the loop at once, and the others where they are.
            while asyncio.all_tasks(loop):
                with contextlib.suppress(SystemExit, KeyboardInterrupt):
                    loop.run_until_complete(_end_others())
            job.coroutine = None

    @property
    def is_cancelled(self) -> bool:
        """Whether the function that runs was cancelled."""
        return self._job is not None and self._job.cancelled

    @property
    def is_timed_out(self) -> bool:
        """Whether the function that runs was cancelled for its time."""
        return self._job is not None and self._job.timed_out

    @contextlib.contextmanager
    def limited(self, seconds: float, why: str) -> Iterator[None]:
        """Cancel the function that runs where it takes more seconds than these, and say ``why`` in its log.

        Where it does not end then, its process does: by itself, or where its code lets no other run, from outside.
        """
        job = self._job
        assert job is not None
        alarm = alarms().after(seconds, functools.partial(self._time_out, job, why))
        try:
            with own_watchman().kills_after(max(0.0, seconds) + SOFT_S + GRACE_S + WATCHMAN_S):
                yield
        finally:
            alarm.cancel()

    @property
    def is_alone(self) -> bool:
        """Whether the function that runs has this process for itself."""
        return True

    def _time_out(self, job: _Job, why: str) -> None:
        if job.is_over() or job.cancelled:
            return
        job.timed_out = True
        print(why, file=sys.stderr, flush=True)
        self._cancel(job)

    def _perform(self, job: _Job) -> None:
        self._job = job
        asyncio.set_event_loop(self._loop)
        if self._is_hosted:
            signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            try:
                self._interruptible = True
                with ForkExit():
                    job.value = job.function()
            finally:
                self._interruptible = False
        except BaseException as error:  # noqa: BLE001  # whatever it is, Ray's thread raises it
            job.error = error.with_traceback(_without_ours(error))
        if self._is_hosted:
            # An alarm that one has left behind is not to end the next.
            signal.setitimer(signal.ITIMER_REAL, 0)
        with self._change:
            self._job = None
        job.end()
        self.waits.recheck()

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        job = self._job
        if job is None or not self._interruptible:
            return
        if job.coroutine is not None and self._cancel_coroutine(job):
            return
        raise KeyboardInterrupt

    def _cancel_coroutine(self, job: _Job) -> bool:
        """Cancel the coroutine that runs; False where it is not to be, or was already."""
        coroutine = job.coroutine
        if coroutine is None or coroutine.done() or not job.cancelled or job.softly:
            return False
        job.softly = True
        coroutine.get_loop().call_soon_threadsafe(coroutine.cancel)
        return True

    # On any thread

    def interrupt(self, main: Callable[[], None]) -> None:
        """Stand in for ``_thread.interrupt_main``: Ray calls it to cancel the job, users as they like."""
        try:
            sys._getframe(1)
        except ValueError:  # called by no Python: it is Ray
            if (job := self._job) is not None:
                self._cancel(job)
        else:
            main()

    def _cancel(self, job: _Job) -> None:
        if job.give_way():
            self.waits.recheck()
            alarms().after(WAY_S, functools.partial(self._cancel, job))  # Ray sends no second one
            return
        with self._change:
            if job.cancelled:  # it was told before, and may be tidying up
                return
            job.cancelled = True
        threading.Thread(target=self._end, args=(job,), name="flyteray-cancel", daemon=True).start()

    def _end(self, job: _Job) -> None:
        self._interrupt(job)
        if not job.ends_within(SOFT_S) and job.softly:
            self._interrupt(job)
        if not job.ends_within(GRACE_S):
            # The only way to end code that sits in C or ignores cancellation.
            end_process(EXIT_CANCELLED, self.last_words)

    def _interrupt(self, job: _Job) -> None:
        with self._change:
            if job is not self._job:
                return
            self.waits.cancel()
            if self._is_hosted:
                # A signal, because it also ends a sleep and other calls of the system.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                self._cancel_coroutine(job)

    @property
    def _is_hosted(self) -> bool:
        return self._thread == threading.main_thread().ident


@functools.cache
def own_host() -> Host:
    """The host of this process; where Ray has started it itself, as in a container, users' code has a thread beside."""
    host = Host()
    if ray.is_initialized():
        threading.Thread(target=host.serve, name="flyteray-user", daemon=True).start()
    return host


def host() -> Host:
    """The host of the code that runs: that of this process, or what stands for it there."""
    own = own_host()
    return own.stage or own


def _listens(generator: GeneratorType[Any, Any, Any]) -> bool:
    """Whether a generator can be sent something where it stands: an iterator that it delegates to may not."""
    stands: Any = generator
    while isinstance(stands, GeneratorType):
        stands = stands.gi_yieldfrom
    return stands is None or hasattr(stands, "send")


def _without_ours(error: BaseException) -> Any:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
