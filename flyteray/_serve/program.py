"""A program that is looked after by a guard: started, told to end, its end noticed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flyteray._cluster import processes
from flyteray._serve import guard
from flyteray.errors import RuntimeUserError

ORPHAN_GRACE_S = 5.0  # for a program to end when its replica was killed
_MARK = "FLYTERAY_PROGRAM"  # inherited by what the program starts


@dataclass(frozen=True)
class Exit:
    """How a program ended: with a ``code``, by a ``signal``, or it could not even start (``error``, an errno)."""

    code: int | None = None
    signal: int | None = None
    error: int | None = None

    def __str__(self) -> str:
        if self.code is not None:
            return f"exited with status {self.code}"
        if self.signal is not None:
            try:
                name = signal.Signals(self.signal).name
            except ValueError:  # a real-time signal
                name = "no name"
            hint = ", most likely for memory" if self.signal == signal.SIGKILL else ""
            return f"was killed by signal {self.signal} ({name}){hint}"
        return "ended unseen: its guard was killed"


class Program:
    """A running program in a process group of its own, with the output files and the environment of this process.

    Whatever becomes of this process, nothing of the program stays. Create it on a thread that lives as long.

    Args:
        words: The program and its arguments.
        variables: Its environment.
        folder: Its working directory.
        output: The file that takes what it writes; this process's own by default.
        orphan_grace_s: For it to end when this process is gone.

    Raises:
        RuntimeUserError: there is no such program, or it can't be executed.
    """

    def __init__(
        self,
        words: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        *,
        output: IO[bytes] | None = None,
        orphan_grace_s: float = ORPHAN_GRACE_S,
    ) -> None:
        self._words = words
        self._mark = uuid.uuid4().hex
        self._exit = Exit()
        read, status = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(status), str(orphan_grace_s), *words],
                env={**variables, _MARK: self._mark},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(status,),
                start_new_session=True,
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(status)
        self._reader = os.fdopen(read, "r")
        self._ended = threading.Event()
        threading.Thread(target=self._follow, name="flyteray-program", daemon=True).start()

    @property
    def pid(self) -> int:
        """The guard's: the program descends from it."""
        return self._guard.pid

    @property
    def running(self) -> bool:
        """Whether anything of it is left."""
        return not self._ended.is_set()

    async def wait(self, timeout_s: float | None = None) -> Exit | None:
        """How it ended, once nothing of it is left; None when the time is up before."""
        return await asyncio.to_thread(self.join, timeout_s)

    def join(self, timeout_s: float | None = None) -> Exit | None:
        """The same, blocking."""
        return self._exit if self._ended.wait(timeout_s) else None

    def end(self, grace_s: float) -> None:
        """Ask it to end (SIGTERM) and have it killed after ``grace_s``. Returns at once; may be repeated."""
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended
            self._guard.stdin.write(f"{grace_s}\n".encode())
            self._guard.stdin.flush()

    def raise_if_unstartable(self) -> None:
        """Raise if the program could not be executed at all."""
        number = self._exit.error
        if number is not None:
            raise RuntimeUserError("ProgramNotStarted", _unstartable(self._words[0], number))

    def _follow(self) -> None:
        told = False
        with self._reader:
            for line in self._reader:
                word, _, number = line.partition(" ")
                if word == "failed":
                    self._exit, told = Exit(error=int(number)), True
                elif word != "started" and not told:
                    self._exit = Exit(code=int(number)) if word == "exited" else Exit(signal=int(number))
                    told = True
        self._guard.communicate()  # closes the pipe to it
        if not told:
            processes.end(lambda: processes.members(self._mark, variable=_MARK), grace_s=0)
        self._ended.set()


def _unstartable(program: str, number: int) -> str:
    if number == errno.ENOENT:
        return (
            f"There is no program {program!r} on this node's PATH or in the app's folder, or the interpreter that its "
            "first line names is missing. Give a path, or add the package that brings it to the app's image."
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"{program!r} can't be executed: it is not executable (chmod +x), or run it as: sh {program}."
    if number == errno.ENOEXEC:
        return f"{program!r} is no program for this machine: a script needs a first line such as #!/bin/sh."
    return f"{program!r} can't be executed: {os.strerror(number)}."
