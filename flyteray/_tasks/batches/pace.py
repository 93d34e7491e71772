"""The pace of a task says how many of its calls travel together. No effects here.

A call that is a task of Ray's costs the cluster a third of a millisecond and more, however short it is. Short ones of
one caller are given to a worker together. What they take together is so little that nobody notices which of them had to
wait for which.
"""

from __future__ import annotations

from collections import deque

FEW = 8  # calls that are made at one time, and travel alone in any case
PROBES = 4  # calls whose times are waited for before others travel together
SPAN_S = 0.01  # what the calls of a batch may take together
_MOST = 64
_BYTES_PER_S = 100e6  # outputs count as time: large ones are better off as objects of their own
_REMEMBERED = 16
_FORGOTTEN_S = 60.0


class Pace:
    """The times that the latest calls of one task took, as their workers tell."""

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._told_at = 0.0

    def note(self, seconds: float, nbytes: int, now: float) -> None:
        """Take note of a call that took so long and gave so many bytes; ``now`` is in seconds of any clock."""
        self._took.append(seconds + nbytes / _BYTES_PER_S)
        self._told_at = now

    def together(self, now: float) -> int | None:
        """How many calls travel together, 1 for none; None where too little is known, or nothing any more."""
        if len(self._took) < PROBES:
            return None
        if now - self._told_at > _FORGOTTEN_S:
            self._took.clear()
            return None
        mean = sum(self._took) / len(self._took)
        return max(1, min(_MOST, int(SPAN_S / max(mean, 1e-6))))
