"""A watch notices that an event loop does not answer, and names the line of code that keeps it."""

from __future__ import annotations

import asyncio
import logging
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyteray._machine.threads import frame_of
from flyteray._plan import failure
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

_EVERY_S = 0.2
_BLOCKED_S = 1.0  # a loop that is late by more is blocked; a busy machine is late by less
_REMEDY = "Move blocking work out of async handlers: into plain `def` handlers, asyncio.to_thread or a task."
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


@dataclass(frozen=True)
class LoopThread:
    """An event loop and the thread that it runs on."""

    loop: asyncio.AbstractEventLoop
    ident: int

    @classmethod
    def current(cls) -> LoopThread:
        """The running loop and this thread."""
        return cls(asyncio.get_running_loop(), threading.get_ident())


@dataclass(eq=False, repr=False)
class LoopWatch:
    """Asks a loop for a sign of life several times a second, from a thread of its own.

    A loop that is late by more than a second is blocked: that is logged once, with the place in the user's code.
    ``on_change`` is called with True when the loop is blocked, and with False when it answers again; a loop that is
    late by more than ``limit_s`` fails :meth:`check`.
    """

    watched: LoopThread
    on_change: Callable[[bool], None] | None
    limit_s: float

    def __post_init__(self) -> None:
        self._asked_at: float | None = None
        self._blocked_at: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flyteray-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more: the loop is about to end."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise if the loop is late by more than the limit."""
        asked_at = self._asked_at
        if asked_at is not None and time.monotonic() - asked_at > self.limit_s:
            raise RuntimeUserError(
                "LoopBlocked",
                f"The app's event loop has been blocked for more than {self.limit_s:g} s"
                f"{locate_thread(self.watched.ident)[0]}. {_REMEDY}",
            )

    def _work(self) -> None:
        while not self._stop.wait(_EVERY_S):
            asked_at = self._asked_at
            if asked_at is None:
                self._report_free()
                self._asked_at = time.monotonic()
                try:
                    self.watched.loop.call_soon_threadsafe(self._answer)
                except RuntimeError:  # it has ended by itself, which is not to be blocked
                    self._asked_at = None
                    return
            elif self._blocked_at is None and time.monotonic() - asked_at > _BLOCKED_S:
                self._report_blocked(asked_at)

    def _answer(self) -> None:
        self._asked_at = None

    def _report_blocked(self, since: float) -> None:
        place, stack = locate_thread(self.watched.ident)
        if not stack:
            return  # no code keeps it: the machine is busy
        self._blocked_at = since
        told = "The app's event loop is blocked%s; other requests to this replica wait. %s\n%s"
        logger.warning(told, place, _REMEDY, stack)
        if self.on_change is not None:
            self.on_change(True)

    def _report_free(self) -> None:
        if self._blocked_at is None:
            return
        blocked_s = time.monotonic() - self._blocked_at
        logger.warning("The app's event loop answers again after %.1f s.", blocked_s)
        self._blocked_at = None
        if self.on_change is not None:
            self.on_change(False)


def locate_thread(ident: int) -> tuple[str, str]:
    """The innermost place of a thread in the user's code (" by f() in app.py, line 3"), and the stack down to it.

    Both are empty where only flyteray's code runs.
    """
    frame = frame_of(ident)
    return _describe(failure.frames(frame) if frame is not None else [])


def locate_task(task: asyncio.Task[Any]) -> tuple[str, str]:
    """The place where a task waits, and the stack, as of :func:`locate_thread`."""
    stack: list[traceback.FrameSummary] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        stack.extend(failure.frames(frame) if frame is not None else [])
        awaited = getattr(awaited, "cr_await", None)
    return _describe(stack)


def _describe(stack: list[traceback.FrameSummary]) -> tuple[str, str]:
    if not stack:
        return "", ""
    own = [each for each in stack if not each.filename.startswith(_LIBRARIES)] or stack
    place = f" by {own[-1].name}() in {own[-1].filename}, line {own[-1].lineno}"
    return place, "".join(traceback.format_list(stack)).rstrip()
