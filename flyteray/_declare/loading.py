"""Code that is being loaded may start nothing on a cluster: it is refused, and told where it stands.

A module that is loaded in a worker, in a replica or by the command runs all that stands at its top level. A run that
is started there would load the module again, which would start another run, without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import linecache
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from types import FrameType
from weakref import WeakSet

from flyteray._declare.context import task_context
from flyteray._machine.threads import frame_of
from flyteray._version import HOUSE
from flyteray.errors import ModuleLoadError

_OURS = f"{HOUSE}{os.sep}"
_POOL = "concurrent.futures.thread"


@dataclass(eq=False)
class _Load:
    """One that goes on: in which thread, for whom, and which threads there were before."""

    thread: int
    frame: FrameType
    before: frozenset[threading.Thread]


class Loads:
    """The loads that go on in this process."""

    def __init__(self) -> None:
        self._going_on: list[_Load] = []
        self._here: ContextVar[_Load | None] = ContextVar("flyteray_load", default=None)
        self._started: WeakSet[threading.Thread] = WeakSet()

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Within the block, code is loaded by this thread."""
        load = _Load(threading.get_ident(), sys._getframe(2), frozenset(threading.enumerate()))
        token = self._here.set(load)
        self._going_on.append(load)
        try:
            yield
        finally:
            self._going_on.remove(load)
            self._here.reset(token)
            self._started.update(set(threading.enumerate()) - load.before)

    def refuse(self, what: str, caller: threading.Thread) -> None:
        """Refuse to do something on a cluster for code that is only being loaded.

        Args:
            what: The name of what is to be done.
            caller: The thread that asks for it.

        Raises:
            ModuleLoadError: ``caller`` loads code, or was started by code that was being loaded.
        """
        load = self._here.get()
        if load is not None and load in self._going_on:
            raise ModuleLoadError(_told(what, _statement(load)))
        if task_context.get() is None and self._is_started(caller):
            raise ModuleLoadError(_told(what, calling_frame(caller), thread=True))

    def _is_started(self, thread: threading.Thread) -> bool:
        """Whether a thread was started by code that was being loaded, and does what that code said."""
        if any(thread not in load.before for load in self._going_on):
            return True
        # A pool, or a loop, does what it is given later as well.
        target = getattr(thread, "_target", None)
        serves = getattr(target, "__module__", "") == _POOL or isinstance(
            getattr(target, "__self__", None), asyncio.AbstractEventLoop
        )
        return thread in self._started and not serves


@functools.cache
def loads() -> Loads:
    """The loads of this process."""
    return Loads()


def calling_frame(thread: threading.Thread) -> FrameType | None:
    """The frame of a thread that calls flyteray."""
    return _caller(_stack(thread.ident))


def _stack(thread: int | None) -> list[FrameType]:
    """The frames of a thread, innermost first."""
    frames = []
    frame = frame_of(thread)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _statement(load: _Load) -> FrameType | None:
    """Where a module's top level is, the innermost one; or where there is none, what calls."""
    inside = list(takewhile(lambda frame: frame is not load.frame, _stack(load.thread)))
    modules = (frame for frame in inside if frame.f_code.co_name == "<module>")
    return next(modules, None) or _caller(inside)


def _caller(stack: list[FrameType]) -> FrameType | None:
    """The frame that calls flyteray."""
    beyond = dropwhile(lambda frame: not frame.f_code.co_filename.startswith(_OURS), stack)
    return next((frame for frame in beyond if not frame.f_code.co_filename.startswith(_OURS)), None)


def _told(what: str, frame: FrameType | None, thread: bool = False) -> str:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""
    where = f"{_shown(frame.f_code.co_filename)}, line {frame.f_lineno}," if frame else "Code"
    how = "in a thread that is started when its file is loaded" if thread else "when its file is loaded"
    return (
        f"{where} calls {what} {how}, as each worker and replica does. Nothing was started. Put what starts something "
        f'below a main guard:\n\n    if __name__ == "__main__":\n        {line or f"{what}(...)"}'
    )


def _shown(file: str) -> str:
    """A file as it is below the folder that it is imported from."""
    folders = [
        folder for folder in sys.path if folder and file.startswith(f"{folder.rstrip(os.sep)}{os.sep}")
    ]
    return os.path.relpath(file, max(folders, key=len)) if folders else file
