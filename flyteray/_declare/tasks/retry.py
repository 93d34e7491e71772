"""A retry strategy says how often a failed task is tried again, and after which pause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Backoff:
    """The pause before each new attempt: ``base``, then ``factor`` times as long after every failure.

    Args:
        base: The pause before the second attempt.
        factor: What each following pause is multiplied by; 1 keeps it constant.
        cap: The longest pause. Required when ``factor`` is above 1.

    Raises:
        ValueError: A negative pause, a factor below 1 or not finite, or no cap for a growing pause.
    """

    base: timedelta
    factor: float = 1.0
    cap: timedelta | None = None

    def __post_init__(self) -> None:
        for name, pause in (("base", self.base), ("cap", self.cap)):
            if pause is None and name == "cap":
                continue
            if not isinstance(pause, timedelta):
                raise ValueError(f"Backoff {name} must be a timedelta, got {pause!r}.")
            if pause < timedelta(0):
                raise ValueError(f"Backoff {name} must not be negative, got {pause!r}.")
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)):
            raise ValueError(f"Backoff factor must be a number, got {self.factor!r}.")
        if not math.isfinite(self.factor) or self.factor < 1:
            raise ValueError(f"Backoff factor must be finite and at least 1, got {self.factor!r}.")
        if self.factor > 1 and self.cap is None:
            raise ValueError(
                f"Backoff with factor {self.factor!r} grows without limit: give cap=timedelta(...) as well."
            )

    def compute_delay(self, n: int) -> timedelta:
        """The pause after failed attempt number ``n``, counted from 0."""
        if n < 0:
            raise ValueError(f"Attempts are counted from 0, got {n!r}.")
        try:
            delay = self.base * self.factor**n
        except OverflowError:
            delay = timedelta.max
        return delay if self.cap is None else min(delay, self.cap)


@dataclass(frozen=True)
class RetryStrategy:
    """The number of attempts after a failure, and their pauses.

    Args:
        count: Attempts after the first one; 0 means none.
        backoff: The pauses between attempts. Default: half a second, then twice as long each time, 30 s at most.

    Raises:
        ValueError: ``count`` is no whole number or negative, or ``backoff`` is no :class:`Backoff`.
    """

    count: int
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int):
            raise ValueError(f"RetryStrategy count must be an int, got {self.count!r}.")
        if self.count < 0:
            raise ValueError(f"RetryStrategy count must not be negative, got {self.count!r}.")
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise ValueError(f"RetryStrategy backoff must be a Backoff, got {self.backoff!r}.")

    @classmethod
    def of(cls, value: int | RetryStrategy | None) -> RetryStrategy:
        """The strategy that ``retries=`` means: a count, a strategy, or None for no retries."""
        if isinstance(value, RetryStrategy):
            return value
        if value is None:
            return cls(0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"retries must be an int or a RetryStrategy, got {value!r}.")
        return cls(value)
