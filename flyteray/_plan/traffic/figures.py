"""Figures tell how the requests of a backend went: how many there were, how many failed, how long answers took."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

_FIRST_US, _LAST_US = 1_000, 100_000_000
_STEPS_PER_DECADE = 20  # so a bound is 12 % above the one before: finer than what a canary is judged by
BOUNDS_US = tuple(
    round(_FIRST_US * 10 ** (step / _STEPS_PER_DECADE)) for step in range(5 * _STEPS_PER_DECADE + 1)
)
"""The upper bounds of the latencies that are counted together, in microseconds: 1 ms to 100 s, in equal ratios."""

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
NONE_YET = (0,) * (len(BOUNDS_US) + 1)


def place(latency_us: int) -> int:
    """Where a latency is counted in :attr:`Figures.latencies`."""
    return bisect.bisect_left(BOUNDS_US, latency_us)


@dataclass(frozen=True)
class Figures:
    """The figures of requests that have ended.

    Attributes:
        requests: All of them.
        errors: Those that failed for no fault of the client's: answers of 5xx, and such as broke off.
        aborted: Those whose client left before the answer's end; none of them is an error.
        classes: Those answered with 1xx, 2xx, 3xx, 4xx and 5xx. Who left before the answer began is in none.
        waited_us: The sum of the latencies, in microseconds.
        latencies: How many answers began within each of :data:`BOUNDS_US` but not within the one before, and last those
            that took longer. A latency runs from when the ingress has a request's headers to the answer's, so that it
            has neither the client's slowness in it nor the length of a stream.
    """

    requests: int = 0
    errors: int = 0
    aborted: int = 0
    classes: tuple[int, ...] = (0,) * len(CLASSES)
    waited_us: int = 0
    latencies: tuple[int, ...] = field(default=NONE_YET, repr=False)

    def __add__(self, other: Figures) -> Figures:
        return self._with(other, 1)

    def __sub__(self, other: Figures) -> Figures:
        """What has come since ``other``, an earlier state of the same."""
        return self._with(other, -1)

    def since(self, before: Figures) -> Figures:
        """What has come since ``before``; all of it where it has begun anew since."""
        return self - before if self.requests >= before.requests else self

    @property
    def answered(self) -> int:
        """How many answers have begun: those with a latency."""
        return sum(self.latencies)

    @property
    def error_rate(self) -> float:
        """The share of errors in the requests whose client stayed, from 0 to 1; 0 where there is none."""
        stayed = self.requests - self.aborted
        return self.errors / stayed if stayed else 0.0

    def quantile(self, share: float) -> float | None:
        """The latency, in seconds, that ``share`` of the answers did not exceed; None where nothing was answered.

        Between two bounds it is taken to grow evenly. What took longer than all counts as the last bound.

        Raises:
            ValueError: ``share`` is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"A quantile is asked for by a share from 0 to 1, not {share}.")
        if not (answered := self.answered):
            return None
        rank, below = share * answered, 0
        for number, (bound, count) in enumerate(zip(BOUNDS_US, self.latencies, strict=False)):
            if count and below + count >= rank:
                least = BOUNDS_US[number - 1] if number else 0
                return (least + (bound - least) * max(0.0, rank - below) / count) / 1e6
            below += count
        return _LAST_US / 1e6

    def within(self, bounds_us: Iterable[int]) -> list[int]:
        """How many answers took at most each of these times, which are some of :data:`BOUNDS_US`."""
        so_far = list(itertools.accumulate(self.latencies))
        return [so_far[place(bound)] for bound in bounds_us]

    def _with(self, other: Figures, sign: int) -> Figures:
        def combined(name: str) -> int | tuple[int, ...]:
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, tuple):
                return tuple(a + sign * b for a, b in zip(mine, others, strict=True))
            return int(mine + sign * others)

        return Figures(**{each.name: combined(each.name) for each in fields(self)})  # type: ignore[arg-type]
