"""The processes of a local cluster are found and ended, exactly these."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

T = TypeVar("T")

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
        return (
            is_alive(self.pid) and _told(lambda: psutil.Process(self.pid).create_time(), None) == self.created
        )


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

    def is_ours(process: psutil.Process) -> bool:
        has_mark = _told(lambda: process.environ().get(variable) == mark, False)
        return has_mark or (session is not None and _told(lambda: os.getsid(process.pid), None) == session)

    everyone = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    found = {process.pid: process for process in everyone if is_ours(process)}
    children: defaultdict[int, list[psutil.Process]] = defaultdict(list)
    for process in everyone:
        children[_told(process.ppid, 0)].append(process)
    unseen = list(found)
    while unseen:
        for child in children[unseen.pop()]:
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
    while (targets := list(filter(_runs, {*targets, *find()}))) and time.monotonic() < deadline:
        _signal(targets, psutil.Process.kill)
        _wait(targets, 1.0)


def _signal(targets: list[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in targets:
        with contextlib.suppress(psutil.Error):
            send(process)  # psutil compares the creation time first: a reused pid is spared


def _wait(targets: list[psutil.Process], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(_runs(process) for process in targets) and time.monotonic() < deadline:
        time.sleep(0.05)


def _session_is_ours(leader: Leader) -> bool:
    """A session outlives its leader; a new process with the leader's pid proves that it has ended."""
    try:
        return bool(psutil.Process(leader.pid).create_time() == leader.created)
    except psutil.Error as error:
        return isinstance(error, psutil.NoSuchProcess)


def _runs(process: psutil.Process) -> bool:
    return _told(lambda: process.is_running() and process.status() != psutil.STATUS_ZOMBIE, False)


def _told(question: Callable[[], T], otherwise: T) -> T:
    """The answer to a question about a process, which may have ended, or be somebody else's."""
    try:
        return question()
    except (psutil.Error, OSError):
        return otherwise
