"""How many replicas each app version should have, and what Serve was asked for last. No effects here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._serve.scaling import Autoscaler


class ReplicaCounts:
    """The wanted numbers of replicas. A new one, after the controller was restarted, begins with what is there."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._resting: set[str] = set()
        self._scalers: dict[str, Autoscaler] = {}

    def asked(self, version: str, replicas: int) -> None:
        """Note that Serve was asked for that many."""
        self._asked[version] = replicas
        if replicas == 0:
            self._resting.add(version)

    def failed(self, version: str) -> None:
        """Note that one that has no replica could not be woken; it sleeps again, and its next request may wake it."""
        if version in self._scalers and self._asked.get(version):
            self._resting.discard(version)
            self._scalers[version].rest()

    def resting(self) -> set[str]:
        """The versions that sleep or are being woken: they have no replica, and a request may count on one."""
        return set(self._resting)

    def wanted(self, version: str) -> int | None:
        """How many there should be; None where nothing was asked for yet."""
        return self._asked.get(version)

    def first(self, version: VersionRecord, predecessor: str | None) -> int:
        """How many replicas a version starts with: as many as its predecessor has, whose traffic it takes over.

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
    ) -> dict[str, int]:
        """The versions that should have another number of replicas than they were asked for, and that number.

        Args:
            versions: Those that are deployed and wanted; all others are forgotten.
            ready: Replicas that are ready, by version.
            traffic: What is open and what has been, by backend; what is not told is not followed.
            at: Seconds of a clock that never goes back.
            working: Those of which a replica goes on with what requests have left running.
        """
        versions = list(versions)
        known = {version.id for version in versions}
        self._asked = {version: replicas for version, replicas in self._asked.items() if version in known}
        self._scalers = {version: scaler for version, scaler in self._scalers.items() if version in known}
        self._resting = {
            version
            for version in self._resting & known
            if not (ready.get(version) and self._asked.get(version))
        }
        wanted = {
            version.id: self._next(version, ready.get(version.id, 0), traffic, at, version.id in working)
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
        return scaler.wanted(at, *traffic[backend], working)


def follows_traffic(version: VersionRecord) -> bool:
    """Whether a version's number of replicas follows its traffic: it serves, and may have more than the least."""
    return (
        version.spec.scaling is not None
        and version.phase is VersionPhase.READY
        and version.backend is not None
    )
