"""The state of apps, their versions and replicas: rows that the registry keeps and that reconciling decides on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Literal

from flyteray._plan.info import ErrorInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec
from flyteray._plan.traffic.canary import CanaryRecord
from flyteray._plan.traffic.shadow import ShadowRecord


class VersionPhase(str, Enum):
    """The phase of an app version."""

    PENDING = "pending"  # asked for, not deployed on this cluster
    DEPLOYING = "deploying"  # handed to Serve, not all replicas are ready
    READY = "ready"  # its replicas are ready; it may serve
    DRAINING = "draining"  # no new requests; open ones go on
    FAILED = "failed"  # did not come up; nothing of it runs
    RETIRED = "retired"  # nothing of it runs; it can be served again

    def __str__(self) -> str:
        return self.value


RUNNING = (VersionPhase.DEPLOYING, VersionPhase.READY, VersionPhase.DRAINING)


@dataclass(frozen=True)
class AppRecord:
    """An app: what is wanted (``desired``, ``target``) and which version the route points to (``serving``).

    ``shares`` are the percent of its requests that versions beside the target are to have, ``routed`` what those beside
    the one that serves have now. ``sticks`` is what keeps a client to one version: ``"cookie"``, or the name of a
    header. ``previous`` is the version that served before the one that does.
    """

    name: str
    desired: Literal["active", "stopped"]
    target: str
    serving: str | None
    revision: int
    created_at: datetime
    updated_at: datetime
    shares: Mapping[str, int] = field(default_factory=dict, hash=False)
    routed: Mapping[str, int] = field(default_factory=dict, hash=False)
    sticks: str | None = None
    previous: str | None = None

    @property
    def takes_requests(self) -> set[str]:
        """The versions that requests are sent to, or were when the app was last there."""
        return {*([self.serving] if self.serving else []), *self.routed}

    @property
    def versions(self) -> set[str]:
        """The versions that are to be there while it is active."""
        return {self.target, *self.shares, *self.takes_requests}

    def divided(self) -> dict[str, int]:
        """What percent of its requests each version has."""
        return {self.serving: 100 - sum(self.routed.values()), **self.routed} if self.serving else {}

    def promoted(self, at: datetime) -> AppRecord:
        """The same with all as it is wanted."""
        replaced = self.serving not in (None, self.target)
        return replace(
            self,
            serving=self.target,
            routed=self.shares,
            previous=self.serving if replaced else self.previous,
            updated_at=at,
        )

    def without(self, version: str) -> AppRecord:
        """The same without the share of a version: as it was before, where that has had no request yet."""
        if version not in self.routed and self.serving is not None:
            return replace(self, target=self.serving, shares=self.routed)
        shares, routed = (
            {each: share for each, share in with_share(shares, version, 0).items() if each != version}
            for shares in (self.shares, self.routed)
        )
        return replace(self, shares=shares, routed=routed)

    def without_shadow(self, version: str) -> AppRecord:
        """The same without a version that has no share: nothing of the others changes."""
        shares, routed = (
            {each: share for each, share in shares.items() if each != version}
            for shares in (self.shares, self.routed)
        )
        return replace(self, shares=shares, routed=routed)


def with_share(shares: Mapping[str, int], version: str, share: int) -> dict[str, int]:
    """Shares, of which ``version`` has this one; the others, and who has the rest, keep their proportions."""
    before = 100 - shares.get(version, 0)
    others = {
        each: count * (100 - share) // before for each, count in shares.items() if each != version and before
    }
    return {**others, version: share}


@dataclass(frozen=True)
class VersionRecord:
    """An immutable deployed form of an app; ``id`` is unique over all apps.

    ``backend`` is its place in the ingress while anything of it runs; ``draining_since`` is UTC; ``canary`` is how it
    comes, or came, to have all requests, ``shadow`` how it gets, or got, copies of them.
    """

    id: str
    app: str
    spec: AppSpec
    revision: int
    phase: VersionPhase
    backend: int | None
    error: ErrorInfo | None
    created_at: datetime
    draining_since: datetime | None
    canary: CanaryRecord | None = None
    shadow: ShadowRecord | None = None

    @property
    def is_shadow(self) -> bool:
        """Whether it gets copies of requests, or is to; only with a share of 0 it does."""
        return self.shadow is not None and self.shadow.outcome == "running"


@dataclass(frozen=True)
class ReplicaRecord:
    """A ready replica and its slot in the version's backend (from 1)."""

    info: ReplicaInfo
    slot: int
