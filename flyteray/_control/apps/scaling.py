"""The number of replicas that each app version should have, from its traffic. No effects here; time is passed in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._plan.spec import ScalingSpec
from flyteray._plan.traffic.advice import STALE_S, Advice
from flyteray._plan.traffic.figures import Figures
from flyteray.app.scaling import Signals

_WINDOW_S = 3.0  # traffic is averaged over it: a moment's peak starts no replica
_LEAST_S = 1e-3  # a rate over less than this says nothing
_ROUNDING = 1e-9
_ENDLESS = 10**6  # replicas that nobody has


@dataclass(frozen=True)
class Seen:
    """The traffic of a version at a moment: requests that are open, all so far, and how those that have ended went."""

    at: float
    in_flight: int
    total: int
    figures: Figures


class Autoscaler:
    """The wanted number of replicas of one app version, which follows its traffic, or what its policy advises.

    ``least`` holds while the version does not sleep; ``current`` are there, or asked for, at first: 0 where it sleeps.

    Attributes:
        why: Why it is at the number that it wants.
    """

    def __init__(self, policy: ScalingSpec, least: int, current: int) -> None:
        self.policy = policy
        self.least = least
        self.why = ""
        self._wanted = min(max(current, least), policy.most)
        self._seen: deque[Seen] = deque()
        self._needs: deque[tuple[float, int]] = deque()
        self._since: float | None = None
        self._used: float | None = -math.inf if current == 0 else None  # when it was in use last
        self._advised: tuple[float, Advice] | None = None

    def rest(self) -> None:
        """Let it sleep until it is used again."""
        self._used = -math.inf

    def advise(self, at: float, advice: Advice) -> None:
        """Go by the advice of the version's own policy."""
        self._advised = at, advice

    def wanted(
        self, at: float, in_flight: int, total: int, working: bool = False, figures: Figures | None = None
    ) -> int:
        """The number of replicas that there should be from now on.

        More as soon as they are needed; fewer when that many have been enough for the policy's time.

        Args:
            at: Seconds of a clock that never goes back.
            in_flight: Requests and connections that are open.
            total: Requests so far; it starts anew when the ingress does.
            working: Whether work that requests have left running goes on: the version does not sleep then.
            figures: How its requests so far went, for :meth:`signals`.
        """
        self._since = at if self._since is None else self._since
        if in_flight or working or self._used is None or (self._seen and _grown(self._seen[-1].total, total)):
            self._used = at
        self._seen.append(Seen(at, in_flight, total, figures or Figures()))
        while self._seen[0].at < at - _WINDOW_S:
            self._seen.popleft()
        asked, self.why = self._need(at)
        need = min(max(asked, self.least), self.policy.most)
        if need != asked:
            self.why += f", and {'the least' if need > asked else 'the most'} is {need}"
        patience = self.policy.scaledown_after_s
        self._needs.append((at, need))
        while self._needs[0][0] < at - patience:
            self._needs.popleft()
        if need > self._wanted:
            self._wanted = need
        elif at - self._since >= patience:
            self._wanted = min(self._wanted, max(each for _, each in self._needs))
        if self._wanted > need:
            self.why += f"; {self._wanted} stay until that has been enough for {patience:.3g} s"
        if self._sleeps(at - self._used):
            self.why = "it sleeps, as nobody uses it; the next request wakes it"
            return 0
        return self._wanted

    def signals(self, ready: int) -> Signals:
        """What the version's own policy is told, where so many replicas are ready."""
        if not self._seen:
            return Signals(self._wanted, ready)
        recent = self._seen[-1].figures.since(self._seen[0].figures)
        return Signals(
            replicas=self._wanted,
            ready=ready,
            open=self._open(),
            requests_per_second=self._rate(),
            p50=recent.quantile(0.5),
            p95=recent.quantile(0.95),
            error_rate=recent.error_rate,
        )

    def _sleeps(self, unused_s: float) -> bool:
        patience = self.policy.sleeps_after_s
        # Where that is no time at all it must still have been seen to be unused.
        return patience is not None and unused_s >= max(patience, _WINDOW_S)

    def _need(self, at: float) -> tuple[int, str]:
        """How many replicas are needed, whatever the bounds, and why."""
        if self.policy.by == "policy":
            return self._advice(at)
        share = self.policy.share
        if self.policy.by == "concurrency":
            load = self._open()
            words = f"{load:.3g} requests at one time, {share:.3g} for each replica"
        else:
            load = self._rate()
            words = f"{load:.3g} requests a second, {share:.3g} for each replica"
        need = math.ceil(load / share - _ROUNDING)
        return need, f"{words}, need {need}"

    def _advice(self, at: float) -> tuple[int, str]:
        name = f"its policy {self.policy.policy}"
        if self._advised is None:
            if self._since is None or at - self._since < STALE_S:
                return self._wanted, f"{name} is yet to be asked, so it stays at {self._wanted}"
            return self._wanted, f"{name} has not answered yet, so it stays at {self._wanted}"
        given, advice = self._advised
        if at - given > STALE_S:
            return (
                self._wanted,
                f"{name} has not answered for {at - given:.0f} s, so it stays at {self._wanted}",
            )
        if advice.replicas is None:
            return self._wanted, f"{name} {advice.problem}, so it stays at {self._wanted}"
        need = math.ceil(min(max(advice.replicas, 0.0), float(_ENDLESS)) - _ROUNDING)
        return need, f"{name} says {advice.replicas:.3g}"

    def _open(self) -> float:
        return sum(each.in_flight for each in self._seen) / len(self._seen)

    def _rate(self) -> float:
        first, last = self._seen[0], self._seen[-1]
        if last.at - first.at < _LEAST_S:
            return 0.0
        return _grown(first.total, last.total) / (last.at - first.at)


def _grown(before: int, after: int) -> int:
    return after - before if after >= before else after


class ReplicaCounts:
    """The wanted numbers of replicas of all versions; after a restart of the controller they begin with those there."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._resting: set[str] = set()
        self._scalers: dict[str, Autoscaler] = {}

    def asked(self, version: str, replicas: int) -> None:
        """Note that Serve was asked for that many replicas of a version."""
        self._asked[version] = replicas
        if replicas == 0:
            self._resting.add(version)

    def failed(self, version: str) -> None:
        """Note that a version could not be woken: it sleeps again, and its next request may wake it."""
        if version in self._scalers and self._asked.get(version):
            self._resting.discard(version)
            self._scalers[version].rest()

    def resting(self) -> set[str]:
        """The versions that sleep or are being woken: they have no replica, and a request may count on one."""
        return set(self._resting)

    def wanted(self, version: str) -> int | None:
        """The number that Serve was asked for; None where it was asked for nothing yet."""
        return self._asked.get(version)

    def why(self, version: str) -> str | None:
        """Why a version is at the number that Serve was asked for; None where that is as it was declared."""
        scaler = self._scalers.get(version)
        return scaler.why or None if scaler is not None else None

    def advise(self, version: str, at: float, advice: Advice | None, ready: int) -> Signals:
        """Go by the advice of a version's own policy from now on, and tell what to ask it next."""
        scaler = self._scalers.get(version)
        if scaler is None:
            return Signals(self._asked.get(version, ready), ready)
        if advice is not None:
            scaler.advise(at, advice)
        return scaler.signals(ready)

    def first(self, version: VersionRecord, predecessor: str | None) -> int:
        """The number of replicas that a version starts with: that of its predecessor, whose traffic it takes over.

        It serves as soon as the least of them are ready: where not all fit beside those of its predecessor, they
        follow when that has ended.
        """
        least, policy = version.spec.replicas, version.spec.scaling
        if policy is None or predecessor is None:
            return least
        return min(max(self._asked.get(predecessor, least), least), policy.most)

    def changes(
        self,
        versions: Iterable[VersionRecord],
        ready: Mapping[str, int],
        traffic: Mapping[int, tuple[int, int]],
        at: float,
        working: Collection[str] = (),
        figures: Mapping[int, Figures] | None = None,
    ) -> dict[str, int]:
        """The versions that should have another number of replicas than they were asked for, and that number.

        Args:
            versions: Those that are deployed and wanted; all others are forgotten.
            ready: The number of replicas that are ready, by version.
            traffic: Requests that are open and requests so far, by backend; a backend without them is not followed.
            at: As in :meth:`Autoscaler.wanted`.
            working: The versions of which a replica goes on with work that requests have left running.
            figures: How the requests so far went, by backend, for those that are told to a policy.
        """
        versions = list(versions)
        known = {version.id for version in versions}
        self._asked = {version: replicas for version, replicas in self._asked.items() if version in known}
        self._scalers = {version: scaler for version, scaler in self._scalers.items() if version in known}
        awake = {version for version, replicas in self._asked.items() if replicas and ready.get(version)}
        self._resting = self._resting & known - awake
        wanted = {
            version.id: self._next(
                version, ready.get(version.id, 0), traffic, at, version.id in working, figures or {}
            )
            for version in versions
        }
        return {version: number for version, number in wanted.items() if self._asked.get(version) != number}

    def _next(
        self,
        version: VersionRecord,
        ready: int,
        traffic: Mapping[int, tuple[int, int]],
        at: float,
        working: bool,
        figures: Mapping[int, Figures],
    ) -> int:
        spec, policy, backend = version.spec, version.spec.scaling, version.backend
        if policy is None:
            return spec.replicas
        asked = self._asked.get(version.id)
        current = 0 if asked == 0 else min(max(ready if asked is None else asked, spec.replicas), policy.most)
        if version.phase is not VersionPhase.READY or backend is None or backend not in traffic:
            return current
        scaler = self._scalers.get(version.id)
        if scaler is None or (scaler.policy, scaler.least) != (policy, spec.replicas):
            scaler = self._scalers[version.id] = Autoscaler(policy, spec.replicas, current)
        return scaler.wanted(at, *traffic[backend], working, figures.get(backend))
