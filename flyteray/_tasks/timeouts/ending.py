"""The end of an attempt that can't go on: what it has started ends with it, and so does its process if it must."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from flyteray._tasks.timeouts import watchman

_LAST_WORDS_S = 1.0  # for what is still to be told before the process ends
_CLOCK_S = 0.05  # how far the start of a process may seem to be off


class Watchman:
    """The watchman of this process, started when there is the first limit to watch."""

    def __init__(self) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        self._limits: list[float] = []
        self._change = threading.Lock()
        self._pid = os.getpid()

    @contextlib.contextmanager
    def kills_after(self, seconds: float) -> Iterator[None]:
        """Kill this process and its descendants where it is in here for more than so many seconds, whatever it does."""
        limit = time.monotonic() + seconds
        self._change_limits(self._limits.append, limit)
        try:
            yield
        finally:
            self._change_limits(self._limits.remove, limit)

    def _change_limits(self, change: Callable[[float], None], limit: float) -> None:
        if os.getpid() != self._pid:  # a copy that user code has forked
            return
        with self._change, contextlib.suppress(BrokenPipeError):
            change(limit)
            seconds = max(0.001, min(self._limits) - time.monotonic()) if self._limits else 0
            guard = self._started()
            assert guard.stdin is not None
            guard.stdin.write(f"{seconds}\n".encode())
            guard.stdin.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", watchman.__file__, str(self._pid)], stdin=subprocess.PIPE
            )
            self._guard.wait()  # it goes on as a process of its own
        return self._guard


@functools.cache
def own_watchman() -> Watchman:
    """The watchman of this process."""
    return Watchman()


def end_processes(since: float = 0.0) -> None:
    """Kill the processes that this one has started, and theirs; with ``since`` (epoch seconds) those started later."""
    # By the clock that the system stamps processes with: psutil's times are off by up to a second.
    earliest = time.clock_gettime(time.CLOCK_BOOTTIME) - (time.time() - since) - _CLOCK_S
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if watchman.started_at(process.pid) >= earliest:
                process.kill()


def end_process(status: int, last_words: Callable[[], object]) -> None:
    """End this process with all that it has started; ``last_words`` are said before, unless they take too long."""
    thread = threading.Thread(target=last_words, name="flyteray-last-words", daemon=True)
    thread.start()
    thread.join(_LAST_WORDS_S)
    end_processes()
    os._exit(status)
