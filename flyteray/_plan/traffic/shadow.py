"""A shadow gets copies of requests: its plan, and how its answers were beside the live ones. No effects here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from flyteray._plan.spec import Spec
from flyteray._plan.traffic.figures import Figures

if TYPE_CHECKING:
    from flyteray.app.shadow import Shadow

PARTS = 10_000  # of all requests, in which a share is counted
LARGEST_BODY = 64 << 10  # bytes of a request that is copied
LEFT_OUT = ("many", "large", "kind")  # why a request is not copied

ShadowOutcome = Literal["running", "ended"]


class ShadowSpec(Spec):
    """The plan of a shadow: of how many requests in :data:`PARTS` it gets copies, and whether of safe ones only."""

    parts: int
    safe_only: bool = False

    @classmethod
    def of(cls, shadow: Shadow) -> ShadowSpec:
        """The plan of a shadow as it was declared."""
        return cls(parts=max(1, round(shadow.share * PARTS / 100)), safe_only=shadow.safe_only)

    @property
    def share(self) -> float:
        """Percent of the requests."""
        return self.parts * 100 / PARTS


@dataclass(frozen=True)
class Compared:
    """What came of the requests that a shadow was to get copies of.

    Attributes:
        copied: Those that were copied.
        left_out: Those that were not, by the reason, of :data:`LEFT_OUT`.
        live: Those copied ones that both versions have answered: how it went with the version that serves. A latency
            runs from when the copy was made.
        shadow: The same ones: how it went with the shadow.
        otherwise: How often the shadow answered with another status, by ``shadow's live``, such as ``500 200``.
    """

    copied: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)
    live: Figures = field(default_factory=Figures)
    shadow: Figures = field(default_factory=Figures)
    otherwise: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __add__(self, other: Compared) -> Compared:
        return self._with(other, 1)

    def __sub__(self, other: Compared) -> Compared:
        """What has come since ``other``, an earlier state of the same."""
        return self._with(other, -1)

    def since(self, before: Compared) -> Compared:
        """What has come since ``before``; all of it where it has begun anew since."""
        return self - before if self.chosen >= before.chosen else self

    @property
    def chosen(self) -> int:
        """All that were to be copied."""
        return self.copied + sum(self.left_out.values())

    def _with(self, other: Compared, sign: int) -> Compared:
        def summed(mine: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
            counts = Counter(mine)
            for key, count in others.items():
                counts[key] += sign * count
            return {key: count for key, count in counts.items() if count}

        def counted(mine: Figures, others: Figures) -> Figures:
            return mine + others if sign > 0 else mine - others

        return Compared(
            copied=self.copied + sign * other.copied,
            left_out=summed(self.left_out, other.left_out),
            live=counted(self.live, other.live),
            shadow=counted(self.shadow, other.shadow),
            otherwise=summed(self.otherwise, other.otherwise),
        )


class ShadowRecord(Spec):
    """A shadow as it is now; ``name`` is no other one's, whatever version it is of and however often it began.

    ``beside`` is the version that it is compared with, None before it comes up; ``reason`` tells why it has ended.
    """

    name: str
    spec: ShadowSpec
    beside: str | None = None
    compared: Compared = Field(default_factory=Compared)
    outcome: ShadowOutcome = "running"
    reason: str | None = None

    def after(self, since: Compared) -> ShadowRecord:
        """The same after some more requests."""
        return self if since == Compared() else self.model_copy(update={"compared": self.compared + since})

    def next_to(self, version: str) -> ShadowRecord:
        """The same beside the version that serves."""
        return self.model_copy(update={"beside": version})

    def ended(self, reason: str) -> ShadowRecord:
        """The same at its end."""
        return self.model_copy(update={"outcome": "ended", "reason": reason})
