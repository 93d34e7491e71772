"""User code in a process of Ray's finds what a script of its own would: standard loops, its arguments, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# Asked for by programs that want to end tidily. What others mean, a process without them would not do.
_ENDING = {
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE")
    if hasattr(signal, name)
}


_OURS = "flyteray_tolerant"


def prepare(module: str, folder: Path | None) -> None:
    """Make this process ready for the import of a user's module in this thread.

    New event loops are asyncio's own, and this thread has one: Ray has those of its actors by uvloop, which some
    libraries can't patch. ``sys.argv`` names the module's file alone. To ask for signals that end a program is no error
    in other threads than the main one, which is Ray's; the handlers are not called, because Ray ends the process in its
    own way, and that is said once.

    Args:
        module: Its name; empty where there is none.
        folder: Where the shipped code is.
    """
    asyncio.set_event_loop_policy(None)
    asyncio.set_event_loop(asyncio.new_event_loop())
    file = f"{module.replace('.', os.sep)}.py" if module else ""
    sys.argv = [str(folder / file) if folder and file else file]
    _allow_signals()


def _allow_signals() -> None:
    if hasattr(signal.signal, _OURS):
        return  # by an earlier module of this process
    told = _Told()
    signal.signal = _tolerant(signal.signal, signal.getsignal, told)
    setattr(signal.signal, _OURS, True)
    for loop in _loop_classes():
        loop.add_signal_handler = _tolerant_of_loops(loop.add_signal_handler, told)


class _Told:
    def __init__(self) -> None:
        self._once = False

    def __call__(self, number: int) -> None:
        if not self._once:
            self._once = True
            logger.info(
                "A handler for %s is not called here: Ray ends this process. In an app, clean up in @env.on_shutdown.",
                signal.Signals(number).name,
            )


def _is_tolerated(number: Any) -> bool:
    return number in _ENDING and threading.current_thread() is not threading.main_thread()


def _tolerant(ask: Callable[..., Any], otherwise: Callable[[int], Any], told: _Told) -> Callable[..., Any]:
    @functools.wraps(ask)
    def tolerant(number: Any, *arguments: Any) -> Any:
        if not _is_tolerated(number):
            return ask(number, *arguments)
        told(number)
        return otherwise(number)

    return tolerant


def _tolerant_of_loops(ask: Callable[..., Any], told: _Told) -> Callable[..., Any]:
    @functools.wraps(ask)
    def tolerant(loop: Any, number: Any, *arguments: Any) -> Any:
        if not _is_tolerated(number):
            return ask(loop, number, *arguments)
        told(number)
        return None

    return tolerant


def _loop_classes() -> list[Any]:
    classes: list[Any] = [asyncio.SelectorEventLoop]
    with contextlib.suppress(ImportError):
        import uvloop  # deferred: absent on some platforms

        classes.append(uvloop.Loop)
    return classes
