"""A stage is a warm process in which several calls go on at one time: those that run, and those that wait for others.

Sync functions have a thread each. Coroutines share one event loop, so that what modules keep for a loop is shared too.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from flyteray._machine.alarms import alarms
from flyteray._plan.actions.reuse import PLACES
from flyteray._tasks.cancels import cancel
from flyteray._tasks.host import EXIT_CANCELLED, GRACE_S, SOFT_S, WATCHMAN_S, Host
from flyteray._tasks.reuse.slots import Slots
from flyteray._tasks.timeouts.ending import end_process, own_watchman
from flyteray._tasks.waits import Cancel, Waits

T = TypeVar("T")

_REMEMBERED = 1000  # calls that were cancelled before they came

_turn: contextvars.ContextVar[Turn] = contextvars.ContextVar("flyteray_turn")


class Turn:
    """One call in this process."""

    def __init__(self, key: str, waits: Waits) -> None:
        self.key = key
        self.waits = waits
        self.coroutine: asyncio.Task[Any] | None = None
        self.cancelled = False
        self.timed_out = False
        self._thread = threading.get_ident()
        self._interrupted = False
        self._over = False
        self._runs = threading.Lock()
        self._runs.acquire()
        self._change = threading.Lock()

    def interrupt(self) -> None:
        """Interrupt it where it is: a coroutine as asyncio does, other code when it next runs Python."""
        with self._change:
            if self._over:
                return
            self._interrupted = True
            self.waits.cancel()
            if self.coroutine is not None and not self.coroutine.done():
                self.coroutine.get_loop().call_soon_threadsafe(self.coroutine.cancel)
            else:
                _raise_in(self._thread, KeyboardInterrupt)

    def end(self) -> None:
        """End, on its own thread, which then serves other calls."""
        with self._change:
            self._over = True
            self._runs.release()
            if self._interrupted:
                _raise_in(self._thread, None)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; False where it takes longer."""
        if self._runs.acquire(timeout=seconds):
            self._runs.release()
        return self._over


class Stage(Host):
    """Stands for the :class:`Host` of a warm process; ``concurrency`` is how many of its calls may run at one time."""

    def __init__(self, concurrency: int) -> None:
        super().__init__()
        self._slots = Slots(concurrency)
        self._turns: dict[str, Turn] = {}
        self._cancelled: deque[str] = deque(maxlen=_REMEMBERED)
        self._ended_at = time.monotonic()
        self._retired = False
        self._change_of_calls = threading.Lock()

    # What the replica asks

    def perform(self, key: str, patience_s: float, function: Callable[[], T], otherwise: T) -> T:
        """Run a function as a call; ``otherwise`` is returned where no slot is free within ``patience_s`` seconds."""
        with self._change_of_calls:
            if self._retired or len(self._turns) >= PLACES:
                return otherwise
            turn = self._turns[key] = Turn(key, _CallWaits(self._slots))
        try:
            if not self._slots.take(patience_s):
                return otherwise
            performed = _turn.set(turn)
            try:
                if key in self._cancelled:
                    turn.cancelled = True
                    raise KeyboardInterrupt
                return function()
            finally:
                _turn.reset(performed)
                turn.end()
                self._slots.give()
        finally:
            with self._change_of_calls:
                self._turns.pop(key, None)
                self._ended_at = time.monotonic()

    def state(self) -> tuple[int, int, float]:
        """The calls that run, all calls, and the seconds since the last one has ended."""
        return self._slots.taken, len(self._turns), time.monotonic() - self._ended_at

    def retire(self) -> bool:
        """Take no more calls, unless there is one."""
        with self._change_of_calls:
            self._retired = not self._turns
            return self._retired

    def cancel(self, key: str) -> None:
        """Cancel a call, also one that is still to come."""
        self._cancelled.append(key)
        if (turn := self._turns.get(key)) is not None:
            turn.cancelled = True
            self._end_turn(turn)

    # As a host

    @property
    def waits(self) -> Waits:  # of the call that asks
        turn = _turn.get(None)
        return self._own_waits if turn is None else turn.waits

    @waits.setter
    def waits(self, waits: Waits) -> None:
        self._own_waits = waits

    def drive(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function to its end on the shared event loop."""
        turn, ended = _turn.get(), Future[T]()

        async def run() -> None:
            try:
                ended.set_result(await function())
            except BaseException as error:  # noqa: BLE001  # SystemExit, too, would end the loop of all
                ended.set_exception(error)

        def start() -> None:
            turn.coroutine = asyncio.ensure_future(run())

        _shared_loop().call_soon_threadsafe(start, context=contextvars.copy_context())
        return ended.result()

    @property
    def is_cancelled(self) -> bool:
        """Whether the call that asks was cancelled."""
        return _turn.get().cancelled

    @property
    def is_timed_out(self) -> bool:
        """Whether the call that asks was cancelled for its time."""
        return _turn.get().timed_out

    @property
    def is_alone(self) -> bool:
        """Whether the call that asks is the only one here."""
        return len(self._turns) == 1

    @contextlib.contextmanager
    def limited(self, seconds: float, why: str) -> Iterator[None]:
        """Cancel the call that asks where it takes more seconds than these; the process ends if that is of no use."""
        turn = _turn.get()

        def time_out() -> None:
            turn.timed_out = turn.cancelled = True
            print(why, file=sys.stderr, flush=True)
            self._end_turn(turn)

        alarm = alarms().after(seconds, time_out)
        try:
            with own_watchman().kills_after(max(0.0, seconds) + SOFT_S + GRACE_S + WATCHMAN_S):
                yield
        finally:
            alarm.cancel()

    def _end_turn(self, turn: Turn) -> None:
        turn.interrupt()
        if not turn.ends_within(SOFT_S + GRACE_S):
            end_process(EXIT_CANCELLED, self.last_words)


class _CallWaits(Waits):
    """The waits of one call, which gives its slot back meanwhile."""

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self.tells = True
        self._slots = slots

    def get(self, ref: Any, end: Cancel = cancel, soon_s: float = 0.0) -> Any:
        with self._slots.given_back():
            return super().get(ref, end, soon_s)

    async def get_async(self, ref: Any, end: Cancel = cancel) -> Any:
        async with self._slots.given_back_async():
            future = asyncio.wrap_future(self._own(ref))
            with self._until_ended(ref, future, end):
                return await future

    async def until(self, told: Awaitable[T]) -> T:
        async with self._slots.given_back_async():
            return await told


@functools.cache
def _shared_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all coroutines of this process, on a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="flyteray-user", daemon=True).start()
    return loop


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an exception in a thread when it next runs Python; None takes back one that is still to come."""
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
