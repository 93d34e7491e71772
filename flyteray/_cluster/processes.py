"""Finding and ending exactly the processes of a local cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

MARK = "FLYTERAY_CLUSTER"  # inherited by everything that a cluster starts


@dataclass(frozen=True)
class Leader:
    """The process at the top of a cluster; its pid is also the id of the session that its children are in.

    ``created`` (seconds since 1970, as psutil says it) tells it from a later process with its pid.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Leader:
        """The leader with that pid, which must be alive."""
        return cls(pid, psutil.Process(pid).create_time())

    def is_alive(self) -> bool:
        """Whether it runs (a zombie doesn't)."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def members(mark: str, leader: Leader | None = None, variable: str = MARK) -> list[psutil.Process]:
    """The cluster's processes: with its mark in ``variable``, in its session, or descended from such a one.

    The mark alone would miss those that overwrite their environment with a title (Ray's agents); the session alone
    those that left it (servers that users start).
    """
    session = leader.pid if leader and _session_is_ours(leader) else None
    everyone = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    found = {
        p.pid: p for p in everyone if _has_mark(p, variable, mark) or (session and _session(p) == session)
    }
    children: dict[int, list[psutil.Process]] = {}
    for process in everyone:
        children.setdefault(_parent(process), []).append(process)
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                unseen.append(child.pid)
    return [process for process in found.values() if _runs(process)]


def end(find: Callable[[], list[psutil.Process]], grace_s: float = 5.0) -> None:
    """End the processes: all are asked at once, those left after ``grace_s`` are killed.

    Returns when ``find`` finds none any more. Asking Ray's head alone would take three times as long: it asks its
    processes one after the other.
    """
    targets = find()
    _signal(targets, psutil.Process.terminate)
    _wait(targets, grace_s)
    deadline = time.monotonic() + 30.0
    while (targets := _merge(targets, find())) and time.monotonic() < deadline:
        _signal(targets, psutil.Process.kill)
        _wait(targets, 1.0)


def _merge(known: list[psutil.Process], found: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in {*known, *found} if _runs(process)]


def _signal(targets: list[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in targets:
        try:
            send(process)  # psutil compares the creation time first: a reused pid is spared
        except psutil.Error:
            continue


def _wait(targets: list[psutil.Process], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(_runs(process) for process in targets) and time.monotonic() < deadline:
        time.sleep(0.05)


def _session_is_ours(leader: Leader) -> bool:
    """A session outlives its leader; a new process with the leader's pid proves that it has ended."""
    try:
        return bool(psutil.Process(leader.pid).create_time() == leader.created)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _has_mark(process: psutil.Process, variable: str, mark: str) -> bool:
    try:
        return bool(process.environ().get(variable) == mark)
    except (psutil.Error, OSError):
        return False


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid() or 0)
    except psutil.Error:
        return 0


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
