"""A canary goes on step by step: its plan, how far it has come, and what is to be done next. No effects here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from flyteray._plan.spec import Spec
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.judgement import Evidence

if TYPE_CHECKING:
    from flyteray.app.canary import Canary

LEAST_REQUESTS = 20  # of the canary in each step

Outcome = Literal["running", "promoted", "taken back", "ended"]


class CanarySpec(Spec):
    """The plan of a canary: what percent of the requests it has in each step, for how many seconds at least.

    ``false_alarms`` is the probability to take back one that is as good as the version that serves, ``slower`` the
    factor by which it may be slower, ``sticks`` what keeps a client to a version.
    """

    steps: tuple[int, ...]
    every_s: float
    false_alarms: float
    slower: float
    sticks: str | None = None

    @classmethod
    def of(cls, canary: Canary) -> CanarySpec:
        """The plan of a canary as it was declared."""
        every = canary.every
        return cls(
            steps=tuple(canary.steps),
            every_s=every.total_seconds() if isinstance(every, timedelta) else every,
            false_alarms=canary.false_alarms,
            slower=canary.slower,
            sticks=canary.sticky,
        )


class CanaryRecord(Spec):
    """A canary as it is now: it has been in its ``step``, from 0, ``since`` then, None while the version comes up.

    ``began_with`` are its requests before the step; ``reason`` tells why it was taken back or has ended.
    """

    spec: CanarySpec
    step: int = 0
    since: datetime | None = None
    began_with: int = 0
    evidence: Evidence = Field(default_factory=Evidence)
    outcome: Outcome = "running"
    reason: str | None = None

    def after(self, share: int, serving: Figures, canary: Figures, at: datetime) -> CanaryRecord:
        """The same after some more requests of both versions; ``share`` is what the canary has of them now."""
        if share != self.spec.steps[self.step]:
            return self
        evidence = self.evidence.after(serving, canary, self.spec.slower)
        now = self.model_copy(update={"evidence": evidence, "since": self.since or at})
        if (reason := evidence.is_worse(self.spec.false_alarms)) is not None:
            return now.ended("taken back", reason)
        return now._next(at) if now._has_lasted(at) else now

    def ended(self, outcome: Outcome, reason: str | None = None) -> CanaryRecord:
        """The same at its end."""
        return self.model_copy(update={"outcome": outcome, "reason": reason})

    def _has_lasted(self, at: datetime) -> bool:
        seen = self.evidence.canary.requests - self.began_with
        is_over = self.since is not None and (at - self.since).total_seconds() >= self.spec.every_s
        return is_over and seen >= LEAST_REQUESTS

    def _next(self, at: datetime) -> CanaryRecord:
        if self.step + 1 == len(self.spec.steps):
            return self.ended("promoted")
        begun = {"step": self.step + 1, "since": None, "began_with": self.evidence.canary.requests}
        return self.model_copy(update=begun)
