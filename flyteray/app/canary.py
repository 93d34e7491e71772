"""A canary is a new version that has a growing share of the requests, and goes by itself where it is worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flyteray._declare.options.shares import checked_share, checked_sticky


@dataclass(frozen=True)
class Canary:
    """How a new version takes over: ``flyteray.deploy(env, canary=Canary(steps=(5, 25, 50)))``.

    It has the percent of each step in turn, and all requests after the last one. Meanwhile its errors and its latency
    are compared with those of the version that serves: where it is worse it has no requests any more, and the other one
    has all. A step also lasts until the canary has had 20 requests. ``flyteray get app NAME --versions`` tells how far
    it is and what was seen; :meth:`flyteray.remote.App.promote`, ``rollback`` and ``set_traffic`` end it.

    Args:
        steps: Percent of the requests, rising, each 1 to 99.
        every: How long a step lasts, in seconds or as a timedelta.
        false_alarms: The probability that a version which is as good as the other is taken back all the same, however
            long the canary lasts. The smaller, the more requests it takes to find one that is worse.
        slower: The factor by which its median and its p90 may be longer.
        sticky: What keeps a client to one version: ``"cookie"`` or the name of a header. Default: nothing.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: Steps that don't rise, or a number that makes no sense.
    """

    steps: Sequence[int] = (10, 50)
    every: float | timedelta = 60.0
    false_alarms: float = 0.01
    slower: float = 1.1
    sticky: str | None = None

    def __post_init__(self) -> None:
        steps = (self.steps,) if isinstance(self.steps, int) else tuple(self.steps)
        for step in steps:
            checked_share(step, "A step of a Canary")
        rises = all(before < after for before, after in zip((0, *steps), (*steps, 100), strict=True))
        if not steps or not rises:
            raise ValueError(f"Canary steps must rise and be 1 to 99 percent, got {self.steps!r}.")
        every = self.every.total_seconds() if isinstance(self.every, timedelta) else self.every
        _check("every", every, 1.0, math.inf)
        _check("false_alarms", self.false_alarms, 1e-9, 0.5)
        _check("slower", self.slower, 1.0, 100.0)
        checked_sticky(self.sticky)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "every", float(every))


def _check(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Canary {name} must be a number, got {value!r}.")
    if not least <= value <= most or value == math.inf:
        bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"Canary {name} must be {bounds}, got {value!r}.")
