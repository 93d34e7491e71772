"""The report of the task that runs is written by functions, each of which has a form for async code, ``.aio``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from flyteray._declare.context import task_context
from flyteray._report.report import MAIN, Report, Tab, of_no_task


def current_report() -> Report:
    """The report of the task that runs; outside tasks, and without ``report=True``, one that forgets all it is told."""
    here = task_context.get()
    return of_no_task() if here is None else here.report


def get_tab(name: str, /, create_if_missing: bool = True) -> Tab:
    """A tab of the current report: ``main``, which is always there, or another.

    Args:
        name: The words to click on.
        create_if_missing: Make it behind the others where it is not there.

    Raises:
        ValueError: It is not there and not to be made, or its name is empty.
    """
    return current_report().get_tab(name, create_if_missing)


class _Flush:
    """The function :func:`flush`; ``aio`` leaves the event loop free while storage works."""

    def __init__(self, function: Callable[[], None]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self) -> None:
        self._function()

    async def aio(self) -> None:
        """Do the same, to be awaited."""
        await asyncio.to_thread(self._function)

    def __reduce__(self) -> str:
        return self._function.__name__


@_Flush
def flush() -> None:
    """Write the report of the task that runs to storage as it is now: then it is read by everyone, everywhere.

    Each time the whole page is written, so a large report is better flushed now and then than at every step. Nobody
    need flush at the end: that is done whether the task succeeds or fails. What was not flushed is lost where the
    process is killed.

    Raises:
        StorageError: Storage can't be reached, refuses, or is full.
    """
    current_report().flush()


class _Write:
    """A function that changes the main tab and may end with a flush; ``aio`` leaves the event loop free meanwhile."""

    def __init__(self, function: Callable[[object, bool], None]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, content: object, do_flush: bool = False) -> None:
        self._function(content, do_flush)

    async def aio(self, content: object, do_flush: bool = False) -> None:
        """Do the same, to be awaited."""
        self._function(content, False)
        if do_flush:
            await flush.aio()

    def __reduce__(self) -> str:
        return self._function.__name__


@_Write
def log(content: object, do_flush: bool = False) -> None:
    """Add something to the main tab of the report of the task that runs. In async code ``await log.aio(...)`` does too.

    Args:
        content: HTML as a str, a DataFrame, a figure, an image, or whatever notebooks show; see :meth:`Tab.log`.
        do_flush: Write the report to storage as well, as :func:`flush` does.

    Raises:
        TypeError: A value of another type.
        StorageError: As of :func:`flush`.
    """
    current_report().get_tab(MAIN).log(content)
    if do_flush:
        flush()


@_Write
def replace(content: object, do_flush: bool = False) -> None:
    """Show something in place of what is in the main tab; all else is as with :func:`log`."""
    current_report().get_tab(MAIN).replace(content)
    if do_flush:
        flush()
