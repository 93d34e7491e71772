"""Pairs of a live request and its copy are put together as their lines come, and compared."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable

from flyteray._ingress.copies import marks
from flyteray._ingress.seen.lines import Ended
from flyteray._ingress.seen.tally import Counts
from flyteray._plan.traffic.shadow import Compared

_MOST_WAITING = 4096  # requests, or copies, whose other one has not ended; the oldest is given up
_MOST_KINDS = 64  # of two statuses that differ
_OTHERS = "other other"


class _Pair:
    """What has been counted of one shadow."""

    def __init__(self) -> None:
        self.copied = 0
        self.left_out: Counter[str] = Counter()
        self.live, self.shadow = Counts(), Counts()
        self.otherwise: Counter[str] = Counter()

    def compare(self, live: Ended, live_us: int | None, copy: Ended) -> None:
        """Count a request and its copy, where both were answered."""
        if not live.fate.is_answered or not copy.fate.is_answered:
            return
        self.live.add(live, live_us)
        self.shadow.add(copy, copy.latency_us)
        if live.status != copy.status:
            both = f"{copy.status} {live.status}"
            known = both in self.otherwise or len(self.otherwise) < _MOST_KINDS
            self.otherwise[both if known else _OTHERS] += 1

    def compared(self) -> Compared:
        """The same as a value."""
        return Compared(
            self.copied, dict(self.left_out), self.live.figures(), self.shadow.figures(), dict(self.otherwise)
        )


class Pairs:
    """What came of copies since it was made, by shadow; may be asked and told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: dict[str, _Pair] = {}
        self._waiting: OrderedDict[str, tuple[Ended, marks.Mark]] = OrderedDict()

    def add(self, requests: Iterable[Ended]) -> None:
        """Take in requests and copies that have ended, in any order; what has to do with neither is left alone."""
        for request in requests:
            if request.copy != "-" and (mark := marks.read(request.copy)) is not None:
                with self._lock:
                    self._add(request, mark)

    def compared(self, shadows: Iterable[str]) -> dict[str, Compared]:
        """What came of the copies for these shadows."""
        with self._lock:
            return {
                shadow: self._pairs[shadow].compared() if shadow in self._pairs else Compared()
                for shadow in shadows
            }

    def _add(self, request: Ended, mark: marks.Mark) -> None:
        pair = self._pairs.setdefault(mark.shadow, _Pair())
        if mark.kind == marks.LEFT_OUT:
            pair.left_out[mark.rest] += 1
            return
        pair.copied += mark.kind == marks.MADE
        number = mark.rest if mark.kind == marks.COPY else request.number
        if (other := self._waiting.pop(number, None)) is None:
            self._waiting[number] = request, mark
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)
            return
        copied, copy = (other, (request, mark)) if mark.kind == marks.COPY else ((request, mark), other)
        pair.compare(copied[0], copied[0].answered_after(int(copied[1].rest)), copy[0])
