"""A watchman is a small process that ends a worker which can't end itself, with all that descends from it.

Code that sits in C and keeps Python's lock lets no other code of its process run. The watchman is started by its path
(``python -I -S watchman.py PID``) with nothing but the standard library. A line on its standard input is the seconds
after which the worker is to be killed, or 0 to take that back; the end of the input ends it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_BORN = 19  # where the text of /proc/PID/stat behind the name has the time of the start; 1 is the parent


def watch(pid: int) -> None:
    """Watch over a worker until the input ends or the worker is killed."""
    born = started_at(pid)
    at: float | None = None
    while True:
        left = None if at is None else max(0.0, at - time.monotonic())
        ready, _, _ = select.select([0], [], [], left)
        if ready:
            lines = os.read(0, 4096)
            if not lines:
                return
            seconds = float(lines.split()[-1])
            at = time.monotonic() + seconds if seconds else None
        elif at is not None:
            if started_at(pid) == born:
                kill(pid)
            return


def started_at(pid: int) -> float:
    """When a process was started, in seconds since the system was; 0 where there is none."""
    return int(_stat(pid)[_BORN] or 0) / os.sysconf("SC_CLK_TCK")


def kill(pid: int) -> None:
    """Kill a process and all that descends from it: itself first, so that it starts no more."""
    family = [pid, *_descendants(pid)]
    for each in family:
        with contextlib.suppress(OSError):
            os.kill(each, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for each in _all():
        with contextlib.suppress(OSError, IndexError, ValueError):
            children.setdefault(int(_stat(each)[1]), []).append(each)
    found: list[int] = []
    to_see = [pid]
    while to_see:
        below = children.get(to_see.pop(), [])
        found += below
        to_see += below
    return found


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[str]:
    """The words of a process's state behind its name; none where it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return [""] * (_BORN + 1)


if __name__ == "__main__":
    if not os.fork():  # the worker's code, which may wait for all of its children, is not to find this one
        os.setsid()
        watch(int(sys.argv[1]))
