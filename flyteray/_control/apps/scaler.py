"""How many replicas an app version has: asked of Serve as its traffic needs them, and what keeps them from starting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from flyteray._cluster import nodes
from flyteray._control.apps.records import Records
from flyteray._control.apps.scaling import ReplicaCounts, follows_traffic
from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._ingress.door import ingress
from flyteray._plan import placement
from flyteray._serve.ray_serve import deployment

logger = logging.getLogger(__name__)


class Scaler:
    """The numbers of replicas of the versions that serve or come up.

    Args:
        records: What is known of apps.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self.counts = ReplicaCounts()
        """What Serve was asked for, and what it should be."""
        self._waiting: dict[str, str] = {}  # by version: what keeps its replicas from starting

    def first(self, version: VersionRecord) -> int:
        """How many replicas a version starts with."""
        app = self._records.apps.get(version.app)
        return self.counts.first(version, app.serving if app else None)

    def is_waking(self, version: str) -> bool:
        """Whether Serve was asked for replicas of a version that slept, and none is ready."""
        return bool(self.counts.wanted(version)) and version in self.counts.resting()

    def waiting(self, version: str) -> str | None:
        """What keeps replicas of a version from starting; None where nothing does."""
        return self._waiting.get(version)

    def lacking(self) -> dict[str, str]:
        """The same of all versions, by version."""
        return dict(self._waiting)

    async def adjust(self) -> None:
        """Ask for as many replicas as the traffic of each version needs, and learn what those wait for that lack."""
        ready = self._records.ready()
        await self._scale(ready)
        await self._look_who_waits(ready)

    async def _scale(self, ready: Mapping[str, int]) -> None:
        versions = [version for version in self._records.versions.values() if self._has_a_size(version)]
        followed = [
            version.backend
            for version in versions
            if version.backend is not None and follows_traffic(version)
        ]
        traffic = await ingress().traffic(followed) if followed else {}
        working = {each.info.version for each in self._records.replicas.values() if each.info.working}
        changes = self.counts.changes(versions, ready, traffic, time.monotonic(), working)
        for version, replicas in changes.items():
            try:
                await asyncio.to_thread(deployment.scale, version, replicas)
            except Exception as error:  # noqa: BLE001  # whatever Serve says of this one, the others go on
                logger.warning("Serve does not give %s %d replicas yet: %s", version, replicas, error)
            else:
                logger.info("%d replicas of %s", replicas, version)
                if self.counts.wanted(version) == 0:
                    self._forget_why(version)
                self.counts.asked(version, replicas)

    def _forget_why(self, version: str) -> None:
        """What kept a version from being woken may be over: it is tried again."""
        record = self._records.versions.get(version)
        if record is not None and record.error is not None:
            self._records.put_version(replace(record, error=None))

    def _has_a_size(self, version: VersionRecord) -> bool:
        if version.phase is VersionPhase.READY:
            return self._records.is_wanted(version) and self._records.is_serving(version)
        # Of one that is being built Serve knows nothing, and nothing was asked for.
        return version.phase is VersionPhase.DEPLOYING and self.counts.wanted(version.id) is not None

    def _wanted_or_least(self, version: VersionRecord) -> int:
        wanted = self.counts.wanted(version.id)
        return version.spec.replicas if wanted is None else wanted

    async def _look_who_waits(self, ready: Mapping[str, int]) -> None:
        short = [
            version
            for version in (
                self._records.versions[app.target]
                for app in self._records.apps.values()
                if app.desired == "active"
            )
            if version.phase in (VersionPhase.DEPLOYING, VersionPhase.READY)
            and ready.get(version.id, 0) < self._wanted_or_least(version)
        ]
        cluster = await asyncio.to_thread(nodes.look) if short else None
        known, self._waiting = self._waiting, {}
        for version in short:
            waits = None
            if cluster is not None:
                gets = placement.fitted(version.spec.environment, cluster, version.spec.replicas)
                waits = placement.waiting(gets, cluster)
            if waits is None or not await asyncio.to_thread(deployment.has_unplaced, version.id):
                continue
            self._waiting[version.id] = waits
            if version.id not in known:
                logger.info("A replica of %s %s", version.id, waits)
