"""How many replicas an app should have, from what is seen of its traffic. No effects here; time is passed in."""

from __future__ import annotations

import math
from collections import deque

from flyteray._plan.spec import ScalingSpec

_WINDOW_S = 3.0  # traffic is averaged over it: a moment's peak starts no replica
_LEAST_S = 1e-3  # a rate over less than this says nothing
_ROUNDING = 1e-9


class Autoscaler:
    """Follows the traffic of one app version.

    Args:
        policy: What to follow.
        least: The least number of replicas while the version does not sleep.
        current: How many there are, or were asked for, at present; 0 where it sleeps.
    """

    def __init__(self, policy: ScalingSpec, least: int, current: int) -> None:
        self.policy = policy
        self.least = least
        self._wanted = min(max(current, least), policy.most)
        self._seen: deque[tuple[float, int, int]] = deque()
        self._needs: deque[tuple[float, int]] = deque()
        self._since: float | None = None
        self._used: float | None = -math.inf if current == 0 else None  # when it was in use last

    def rest(self) -> None:
        """Let it sleep until it is used again."""
        self._used = -math.inf

    def wanted(self, at: float, in_flight: int, total: int, working: bool = False) -> int:
        """How many replicas there should be from now on.

        More as soon as they are needed; fewer when that many have been enough for the policy's time.

        Args:
            at: Seconds of a clock that never goes back.
            in_flight: Requests and connections that are open.
            total: Requests so far; it starts anew when the ingress does.
            working: Whether what requests have left running goes on: it does not sleep then.
        """
        self._since = at if self._since is None else self._since
        if in_flight or working or self._used is None or (self._seen and _grown(self._seen[-1][2], total)):
            self._used = at
        self._seen.append((at, in_flight, total))
        while self._seen[0][0] < at - _WINDOW_S:
            self._seen.popleft()
        need = min(max(math.ceil(self._load() / self.policy.share - _ROUNDING), self.least), self.policy.most)
        patience = self.policy.scaledown_after_s
        self._needs.append((at, need))
        while self._needs[0][0] < at - patience:
            self._needs.popleft()
        if need > self._wanted:
            self._wanted = need
        elif at - self._since >= patience:
            self._wanted = min(self._wanted, max(each for _, each in self._needs))
        return 0 if self._sleeps(at - self._used) else self._wanted

    def _sleeps(self, unused_s: float) -> bool:
        patience = self.policy.sleeps_after_s
        # Where that is no time at all it must still have been seen to be unused.
        return patience is not None and unused_s >= max(patience, _WINDOW_S)

    def _load(self) -> float:
        if self.policy.by == "concurrency":
            return sum(in_flight for _, in_flight, _ in self._seen) / len(self._seen)
        (began, _, before), (now, _, after) = self._seen[0], self._seen[-1]
        if now - began < _LEAST_S:
            return 0.0
        return _grown(before, after) / (now - began)


def _grown(before: int, after: int) -> int:
    return after - before if after >= before else after
