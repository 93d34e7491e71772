"""Limits of time in local mode: code is interrupted where it is, but its process is the caller's and can't be ended."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from flyteray._machine.alarms import alarms
from flyteray._plan.actions.limits import Expiry
from flyteray.errors import TaskTimeoutError

_GRACE_S = 2.0  # for what was interrupted to end

logger = logging.getLogger(__name__)


async def ends_in_time(
    running: asyncio.Future[Any], expiry: Expiry | None, interrupt: Callable[[], object]
) -> bool:
    """Wait for an attempt until its time is up, then interrupt it; False where it has not ended before.

    What does not end then either is left behind.
    """
    if expiry is None:
        return True
    try:
        ended, _ = await asyncio.wait({running}, timeout=max(0.0, expiry.at - time.time()))
    except asyncio.CancelledError:  # which is of the attempt as well
        running.cancel()
        await asyncio.wait({running})
        raise
    if ended:
        return True
    interrupt()
    if not (await asyncio.wait({running}, timeout=_GRACE_S))[0]:
        logger.warning("%s It can't be ended in local mode, and goes on beside.", expiry.error)
    elif not running.cancelled():
        running.exception()  # taken note of
    return False


def interrupt_thread(thread: int | None) -> None:
    """Raise KeyboardInterrupt in a thread as soon as it runs Python again: what sits in C does not notice before."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread or 0), ctypes.py_object(KeyboardInterrupt)
    )


@contextlib.contextmanager
def interrupted_here(expiry: Expiry | None) -> Iterator[list[TaskTimeoutError]]:
    """Run an attempt in here, on this thread, until its time is up; the list has the error then.

    On Python's main thread that also ends a sleep and other calls of the system.
    """
    late: list[TaskTimeoutError] = []
    over: list[bool] = []
    if expiry is None:
        yield late
        return
    here = threading.current_thread()
    on_main = here is threading.main_thread()
    found = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if late and not over:
            raise KeyboardInterrupt
        if callable(found):
            found(number, frame)

    def end() -> None:
        if over:
            return
        late.append(expiry.error)
        if on_main:
            signal.pthread_kill(here.ident or 0, signal.SIGINT)
        else:
            interrupt_thread(here.ident)

    if on_main:
        signal.signal(signal.SIGINT, on_signal)
    alarm = alarms().after(expiry.at - time.time(), end)
    try:
        yield late
    except KeyboardInterrupt:  # between two lines of ours
        if not late:
            raise
    finally:
        over.append(True)
        alarm.cancel()
        if on_main:
            signal.signal(signal.SIGINT, found)
