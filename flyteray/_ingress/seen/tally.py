"""The tally counts the requests of each backend as they end."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from flyteray._ingress.seen.lines import Ended
from flyteray._plan.traffic.figures import CLASSES, NONE_YET, Figures, place


class Counts:
    """What has been counted of some requests, as of one backend."""

    def __init__(self) -> None:
        self.requests = self.errors = self.aborted = self.waited_us = 0
        self.classes = [0] * len(CLASSES)
        self.latencies = list(NONE_YET)

    def add(self, request: Ended, latency_us: int | None) -> None:
        """Count a request, with its latency where it has one."""
        fate = request.fate
        self.requests += 1
        self.aborted += fate.is_aborted
        self.errors += fate.is_error
        if not fate.is_answered:
            return
        if 100 <= request.status < 600:
            self.classes[request.status // 100 - 1] += 1
        if latency_us is not None:
            self.waited_us += latency_us
            self.latencies[place(latency_us)] += 1

    def figures(self) -> Figures:
        """The same as figures."""
        return Figures(
            self.requests,
            self.errors,
            self.aborted,
            tuple(self.classes),
            self.waited_us,
            tuple(self.latencies),
        )


class Tally:
    """The figures of all backends since it was made; may be asked and told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, Counts] = {}

    def add(self, requests: Iterable[tuple[int, Ended]]) -> None:
        """Count requests that have ended, each with the backend that it is of."""
        with self._lock:
            for backend, request in requests:
                counts = self._counts.get(backend)
                if counts is None:
                    counts = self._counts[backend] = Counts()
                counts.add(request, request.latency_us)

    def figures(self, backends: Iterable[int]) -> dict[int, Figures]:
        """The figures of these backends."""
        with self._lock:
            return {
                backend: self._counts[backend].figures() if backend in self._counts else Figures()
                for backend in backends
            }
