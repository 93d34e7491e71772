"""Orphans are processes that killed replicas or guards have left: they are known by a mark, and ended."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from flyteray._cluster import processes
from flyteray._serve.programs import guard

MARK = "FLYTERAY_PROGRAM"  # the environment variable of a guard and of all that it guards

_GRACE_S = 2.0
_WORDS = ["-I", "-S", Path(guard.__file__).name]  # of a guard's command, after the interpreter


def mark_children() -> None:
    """Mark the children of this replica, so that the next replica of the node ends them if this one is killed."""
    os.environ[MARK] = f"{_namespace()}{os.getpid()}"


def end_children() -> None:
    """End all descendants of this process: asked first, killed after seconds.

    Not :mod:`multiprocessing`'s tracker, which has to clean up after this process.
    """

    def children() -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True) if not _is_tracker(each)]

    processes.end(children, grace_s=_GRACE_S)


def end_orphans() -> None:
    """End the processes of this node that a guard or a replica should look after and none does.

    A guard is there before its program and goes after it, so a process that has its mark without it was left alone.
    Every start of a program does this, and every replica, among them the one in place of a killed one.
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
    for mark in filter(_is_left_alone, marked - guarded):
        processes.end(lambda mark=mark: processes.members(mark, variable=MARK), grace_s=0)  # type: ignore[misc]


def _is_left_alone(mark: str | None) -> bool:
    """Whether no replica looks after a mark that no guard has; one that lives, or can't be seen, does."""
    kind, _, pid = (mark or "").rpartition("-")
    if not kind:
        return True
    return f"{kind}-" == _namespace() and not processes.is_alive(int(pid))


def _namespace() -> str:
    """The first part of the marks of replicas in this process's namespace of process ids."""
    try:
        return f"replica-{os.stat('/proc/self/ns/pid').st_ino}-"
    except OSError:  # no Linux: there is only one
        return "replica-0-"


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:  # it has ended
        return True


def _is_guard(process: psutil.Process) -> bool:
    *options, script = process.cmdline()[1:4] or [""]
    return [*options, Path(script).name] == _WORDS
