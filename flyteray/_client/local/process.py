"""The process of an app in local mode ends with this one, and its output is shown here."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from flyteray import _private
from flyteray._serve.programs.program import Exit, Program

_LOOK_S = 0.1  # how often its log is looked at
_CHUNK = 65536


class LocalProcess:
    """A program that ends with this process, however that ends, and leaves nothing of its own behind.

    Args:
        log: The file that takes what it writes; what is added to it is shown on this process's stderr.
        grace_s: For the program to end when this process is gone.
        on_end: Called in a thread when it has ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path,
        log: Path,
        grace_s: float,
        on_end: Callable[[], None],
    ) -> None:
        self.exit: Exit | None = None  # while it runs
        self._begin = functools.partial(Program, command, environment, folder, orphan_grace_s=grace_s)
        self._log = log
        self._on_end = on_end
        self._program: Program | None = None
        self._error: BaseException | None = None
        self._started = threading.Event()
        self._ended = threading.Event()
        # The program ends with the thread that started it, so that one stays for as long as the program runs.
        self._thread = threading.Thread(target=self._work, name="flyteray-local-app", daemon=True)

    def start(self) -> None:
        """Start it; raises where that is not possible."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def running(self) -> bool:
        """Whether anything of it runs."""
        return not self._ended.is_set()

    def stop(self, within_s: float) -> None:
        """Ask it to end; what has not ended after ``within_s`` seconds is killed. Does not wait."""
        if self._program is not None:
            self._program.end(within_s)

    def join(self, timeout_s: float | None = None) -> bool:
        """Block until nothing of it is left; False when the time is up before."""
        return self._ended.wait(timeout_s)

    def _work(self) -> None:
        try:
            with _private.opened(self._log, "ab") as output:
                begin = output.seek(0, os.SEEK_END)
                self._program = self._begin(output=output)
        except BaseException as error:  # noqa: BLE001  # raised by start
            self._error = error
        self._started.set()
        if self._program is not None:
            with self._log.open("rb") as log:
                log.seek(begin)
                while self.exit is None:
                    self.exit = self._program.join(_LOOK_S)
                    _show(log)
            self._on_end()
        self._ended.set()


def _show(log: IO[bytes]) -> None:
    while text := log.read(_CHUNK):
        # This process's stderr may be closed or replaced: the app must not end for that.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text.decode(errors="replace"))
            sys.stderr.flush()
