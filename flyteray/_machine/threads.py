"""A thread of its own runs a function, and a future has the result."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_thread(function: Callable[[], T], name: str) -> tuple[Future[T], threading.Thread]:
    """The result of a function, once it has returned, and the thread that it runs in.

    A plain thread, not an executor's: those are joined when the process ends, and this one may never end. A debugger
    of the calling thread stops in it as well; pdb sees only the thread that it was started on.
    """
    future: Future[T] = Future()
    trace = sys.gettrace()

    def work() -> None:
        if trace is not None and sys.gettrace() is None:
            sys.settrace(trace)
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised where the result is waited for
            future.set_exception(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return future, thread
