"""The state of apps, their versions and replicas: rows that the registry keeps and that reconciling decides on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from flyteray._plan.info import ErrorInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec


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
    """An app: what is wanted (``desired``, ``target``) and which version the route points to (``serving``)."""

    name: str
    desired: Literal["active", "stopped"]
    target: str
    serving: str | None
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class VersionRecord:
    """An immutable deployed form of an app; ``id`` is unique over all apps.

    ``backend`` is its place in the ingress while anything of it runs; ``draining_since`` is UTC.
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


@dataclass(frozen=True)
class ReplicaRecord:
    """A ready replica and its slot in the version's backend (from 1)."""

    info: ReplicaInfo
    slot: int
