"""A program is started, told to end and waited for; a guard looks after it."""

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
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flyteray._cluster import processes
from flyteray._serve.programs import guard
from flyteray._serve.programs.orphans import MARK, end_orphans

ORPHAN_GRACE_S = 5.0  # for a program to end when its replica was killed
_ENDS = {"exited": "code", "killed": "signal", "failed": "error"}  # a guard's words, and the field of Exit


@dataclass(frozen=True)
class Exit:
    """The end of a program: with a ``code``, by a ``signal``, not even started (``error``, an errno), or unseen."""

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
            return f"was killed by signal {self.signal} ({name}{hint})"
        return "ended unseen: its guard was killed"


class Program:
    """A running program in a process group of its own, with the output files and the environment of this process.

    Whatever becomes of this process, nothing of the program stays. Create it on a thread that lives as long. ``output``
    takes what it writes, by default this process's own; it has ``orphan_grace_s`` to end when this process is gone.
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
        self._mark = uuid.uuid4().hex
        read, status = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(status), str(orphan_grace_s), *words],
                env={**variables, MARK: self._mark},
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
        self._ended: Future[Exit] = Future()
        threading.Thread(target=self._follow, name="flyteray-program", daemon=True).start()
        threading.Thread(target=end_orphans, name="flyteray-orphans", daemon=True).start()

    @property
    def pid(self) -> int:
        """The guard's process id: the program descends from it."""
        return self._guard.pid

    @property
    def running(self) -> bool:
        """Whether anything of it is left."""
        return not self._ended.done()

    def ended(self) -> asyncio.Future[Exit]:
        """The end of it, once nothing is left. Wait for it by :func:`asyncio.wait`: it must not be cancelled."""
        return asyncio.wrap_future(self._ended)

    def join(self, timeout_s: float | None = None) -> Exit | None:
        """Block until nothing of it is left; None when the time is up before."""
        wait([self._ended], timeout_s)
        return self._ended.result() if self._ended.done() else None

    def end(self, grace_s: float) -> None:
        """Ask it to end (SIGTERM) and have it killed after ``grace_s``. Returns at once; may be repeated."""
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended
            self._guard.stdin.write(f"{grace_s}\n".encode())
            self._guard.stdin.flush()

    def _follow(self) -> None:
        how: Exit | None = None
        with self._reader:
            for line in self._reader:
                word, _, number = line.partition(" ")
                if how is None and word in _ENDS:
                    how = Exit(**{_ENDS[word]: int(number)})
        self._guard.communicate()  # closes the pipe to it
        if how is None:
            processes.end(lambda: processes.members(self._mark, variable=MARK), grace_s=0)
        self._ended.set_result(how or Exit())


def explain_failure(program: str, number: int) -> str:
    """Explain by an errno why a program could not be executed, and how to mend it."""
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
