"""What is left of programs when their guard and its replica were killed in the same instant."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from flyteray._cluster import processes
from flyteray._serve import guard

MARK = "FLYTERAY_PROGRAM"  # the environment variable by which a guard and all that it guards are known

_WORDS = ["-I", "-S", Path(guard.__file__).name]  # of a guard's command, after the interpreter


def end_orphans() -> None:
    """End the processes of this node that a guard should look after and none does.

    A guard is there before what it guards and goes after it, so what has its mark without it was left alone. Whoever
    starts a program does this for those before: the replica that takes the place of a killed one among them.
    """
    guarded: set[str | None] = {os.environ.get(MARK)}  # a process does not judge what it belongs to itself
    marked: set[str | None] = set()
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK)
            if mark:
                (guarded if _is_guard(process) else marked).add(mark)
        except (psutil.Error, OSError):  # it has ended, or is somebody else's
            continue
    for mark in marked - guarded:
        processes.end(lambda mark=mark: processes.members(mark, variable=MARK), grace_s=0)  # type: ignore[misc]


def _is_guard(process: psutil.Process) -> bool:
    *options, script = process.cmdline()[1:4] or [""]
    return [*options, Path(script).name] == _WORDS
