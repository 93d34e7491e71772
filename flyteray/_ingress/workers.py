"""The workers of a HAProxy, its processes that requests are at: one serves, those before it are leaving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from flyteray._cluster import processes
from flyteray._ingress.haproxy import process
from flyteray._ingress.haproxy.runtime import CommandRefusedError, Conversation
from flyteray._ingress.haproxy.supervisor import LOG_FILE
from flyteray._plan.traffic.load import Open
from flyteray.errors import RuntimeSystemError

T = TypeVar("T")

_PATIENCE_S = 10.0


class Workers:
    """The workers of a directory's HAProxy, which are asked here. Questions wait for one that is restarting.

    A worker that is leaving takes no connection any more, and ends with its last one. It is reached by way of HAProxy's
    master, which answers nobody during a reload; the one that serves is reached always.

    Each method raises RuntimeSystemError where HAProxy can't be reached for long, or refuses.

    Attributes:
        is_given_up: Whether HAProxy is being ended; it is waited for no more.
    """

    def __init__(self, directory: Path) -> None:
        self.is_given_up = False
        self._directory = directory
        self._left: set[int] = set()  # with some that have ended
        self._has_looked = False
        self._ever: dict[int, dict[int, int]] = {}  # what each worker has had, by backend
        self._counting = threading.Lock()

    def serving(self, act: Callable[[Conversation], T]) -> T:
        """Do it with the worker that serves, or the one that does so after a restart."""

        def once() -> T:
            with Conversation(self._directory) as worker:
                return act(worker)

        return self._insist(once)

    def leaving(self, act: Callable[[int, Conversation], T], besides: int) -> dict[int, T]:
        """Do it with those that are leaving, each with its process; ``besides`` is the one that serves."""
        return self._insist(lambda: self._at_leaving(act, besides))

    def are_leaving(self, besides: int) -> bool:
        """Whether there are such."""
        return bool(self._insist(self._alive) - {besides})

    def reload(self) -> None:
        """Have a new one read HAProxy's files and take what comes; what is open goes on where it is.

        Raises:
            ClusterError: HAProxy did not take its configuration.
        """
        self._insist(self._alive)  # which asks the master once
        self._left.add(self.serving(Conversation.pid))
        process.reload(self._directory)

    def traffic(self, backends: list[int]) -> dict[int, tuple[int, int]]:
        """As of the door's."""
        told = self._everywhere(lambda each: each.traffic(backends))
        with self._counting:
            for pid, counted in told.items():
                self._ever.setdefault(pid, {}).update({each: ever for each, (_, ever) in counted.items()})
            return {
                backend: (
                    sum(counted[backend][0] for counted in told.values()),
                    sum(ever.get(backend, 0) for ever in self._ever.values()),
                )
                for backend in backends
            }

    def open(self, backends: list[int]) -> dict[int, Open]:
        """As of the door's."""
        told = self._everywhere(lambda each: each.open(backends)).values()
        return {backend: sum((counted[backend] for counted in told), Open()) for backend in backends}

    def unseen(self) -> int:
        """As of the door's."""
        return sum(self._everywhere(lambda each: each.unseen()).values())

    def awaited(self) -> dict[str, int]:
        """How many bytes have come of each body that is waited for, by the request's number."""
        told = self._everywhere(Conversation.awaited)
        return {request: received for each in told.values() for request, received in each.items()}

    def end(self, requests: Iterable[str]) -> None:
        """End requests by their numbers."""
        numbers = list(requests)
        self._everywhere(lambda each: each.end(numbers))

    def end_requests(self, is_good: Callable[[str], bool]) -> None:
        """End what is open for keys that are not good any more."""
        self._everywhere(lambda each: each.end_requests(is_good))

    def _everywhere(self, question: Callable[[Conversation], T]) -> dict[int, T]:
        """The answers of all, by process. First of the one that serves: what it has open may be left behind then."""
        pid, answer = self.serving(lambda worker: (worker.pid(), question(worker)))
        return {**self.leaving(lambda _, each: question(each), besides=pid), pid: answer}

    def _at_leaving(self, act: Callable[[int, Conversation], T], besides: int) -> dict[int, T]:
        answers = {}
        for pid in self._alive() - {besides}:
            try:
                with Conversation(self._directory, old=pid) as worker:
                    answers[pid] = act(pid, worker)
            except OSError:
                if pid in process.old_workers(self._directory):
                    raise
        return answers

    def _alive(self) -> set[int]:
        if not self._has_looked:
            self._left.update(process.old_workers(self._directory))
            self._has_looked = True
        left = set(self._left)
        alive = {pid for pid in left if processes.is_alive(pid)}
        self._left -= left - alive
        return alive

    def _insist(self, act: Callable[[], T]) -> T:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return act()
            except (OSError, CommandRefusedError) as error:
                if self.is_given_up or time.monotonic() > deadline:
                    raise RuntimeSystemError(
                        "IngressError",
                        f"The ingress in {self._directory} does not do what it is told: {error!r}. "
                        f"{LOG_FILE} there says more.",
                    ) from error
            time.sleep(0.02)
