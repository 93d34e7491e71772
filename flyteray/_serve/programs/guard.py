"""A guard is a small process between a replica and its program: it runs the program and leaves nothing of it behind.

It is started by its path (``python -I -S guard.py STATUS_FD GRACE_S PROGRAM ...``), with nothing but the standard
library, so that it costs milliseconds and little memory. Its standard input is a pipe from the replica: a number on it
asks to end the program within that many seconds, and its end tells that the replica is gone, however it went. It writes
to ``STATUS_FD``, a line each: ``started PID``, ``failed ERRNO``, ``exited CODE``, ``killed SIGNAL``. It ends when
nothing of the program is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_LEFT_BEHIND_S = 2.0  # for a program's children to end after the program itself has ended
_AGAIN_S = 0.05  # between two rounds of killing: those killed last may have had children
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Guard:
    """A program and all processes that descend from it; it has ``grace_s`` to end when the replica is gone."""

    def __init__(self, command: list[str], status: int, grace_s: float) -> None:
        self._command = command
        self._status = status
        self._grace_s = grace_s
        self._deadline: float | None = None
        self._ended = False
        self._pid = 0

    def run(self) -> None:
        """Start the program and return when all of it has ended."""
        wakeup = _wakeup()
        self._pid = self._start()
        self._tell(f"started {self._pid}")
        inputs = [0, wakeup]
        while self._reap():
            wait_s = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            ready, _, _ = select.select(inputs, [], [], wait_s)
            if wakeup in ready and set(os.read(wakeup, 512)) - {signal.SIGCHLD}:
                self._end(self._grace_s)
            if 0 in ready:
                asked = os.read(0, 64)
                self._end(float(asked.split()[0]) if asked else self._grace_s)
                if not asked:
                    inputs.remove(0)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._signal(signal.SIGKILL, everybody=True)
                self._deadline = time.monotonic() + _AGAIN_S

    def _start(self) -> int:
        # Not taken between fork and exec, where the guard's own handlers would swallow the program's signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            with contextlib.suppress(OSError):  # the child does it as well: whoever is first
                os.setpgid(pid, pid)
            return pid
        try:
            os.setpgid(0, 0)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # in case the guard is killed
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execvp(self._command[0], self._command)
        except OSError as error:
            self._tell(f"failed {error.errno}")
        finally:
            os._exit(127)

    def _end(self, within_s: float) -> None:
        """Ask the program to end, unless it was asked before; the earliest deadline counts."""
        deadline = time.monotonic() + within_s
        if self._deadline is None:
            self._signal(signal.SIGTERM)
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _reap(self) -> bool:
        """Take note of processes that have ended; False when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self._ended = True
                code = os.waitstatus_to_exitcode(status)
                self._tell(f"exited {code}" if code >= 0 else f"killed {-code}")
                self._end(_LEFT_BEHIND_S)

    def _signal(self, number: int, *, everybody: bool = False) -> None:
        """Signal the program's process group; those that have left it too, once the program has ended or when asked."""
        if not self._ended:  # until it is reaped, no other group can have its number
            with contextlib.suppress(OSError):
                os.killpg(self._pid, number)
        for pid in _descendants(os.getpid()):
            if everybody or self._ended:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the replica is gone
            os.write(self._status, f"{line}\n".encode())


def _wakeup() -> int:
    """A file descriptor on which the numbers of signals arrive."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in _HANDLED:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _descendants(root: int) -> Iterator[int]:
    """All processes below ``root``; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    _, parent, *_ = file.read().rpartition(b")")[2].split()
                children.setdefault(int(parent), []).append(int(name))
    unseen = [root]
    while unseen:
        found = children.get(unseen.pop(), [])
        yield from found
        unseen.extend(found)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _main() -> None:
    status, grace_s, *command = sys.argv[1:]
    os.set_inheritable(int(status), False)
    guard = Guard(command, int(status), float(grace_s))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what leaves the program's group comes back here
    # A process that the replica has forked may keep the pipe open: then this tells that the replica is gone.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    guard.run()


if __name__ == "__main__":
    _main()
