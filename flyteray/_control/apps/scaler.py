"""The scaler asks Serve for as many replicas as each app version needs, and tells why some of them do not start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flyteray._cluster import nodes
from flyteray._control.apps.falling_asleep import FallingAsleep
from flyteray._control.apps.records import Records
from flyteray._control.apps.scaling import ReplicaCounts
from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._control.apps.traffic.canaries import Asked
from flyteray._control.registry.database import now
from flyteray._plan import placement
from flyteray._plan.traffic.advice import Advice
from flyteray._plan.traffic.shadow import Compared
from flyteray._plan.triggers.windows import sized
from flyteray._serve.ray_serve import deployment
from flyteray.app.scaling import Signals

# Requests that are open, and those so far, of some backends.
Traffic = Callable[[Sequence[int]], Awaitable[Mapping[int, tuple[int, int]]]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """How many replicas a version of an app has and is to have, and how often it was woken since this was started.

    ``compared`` is what came of the copies of requests that it gets; None for what is no shadow.
    """

    app: str
    version: str
    backend: int
    ready: int
    wanted: int
    cold_starts: int
    compared: Compared | None = None


class Scaler:
    """The numbers of replicas of the versions that serve or come up.

    Attributes:
        counts: The numbers that Serve was asked for, and those that it should be.
        waiting: Why replicas don't start, by version.
    """

    def __init__(self, records: Records, traffic: Traffic, figures: Asked) -> None:
        self._records = records
        self._traffic = traffic
        self._figures = figures
        self.counts = ReplicaCounts()
        self._falling_asleep = FallingAsleep()
        self.waiting: dict[str, str] = {}
        self._cold_starts: Counter[str] = Counter()

    def sizes(self) -> list[Size]:
        """The sizes of the versions of which something runs, by app."""
        ready = self._records.ready()
        running = (version for version in self._records.versions.values() if version.backend is not None)
        return [
            Size(
                app=version.app,
                version=version.spec.version or version.id,
                backend=version.backend,
                ready=ready.get(version.id, 0),
                wanted=version.spec.replicas
                if (wanted := self.counts.wanted(version.id)) is None
                else wanted,
                cold_starts=self._cold_starts[version.id],
                compared=version.shadow.compared if version.shadow and version.is_shadow else None,
            )
            for version in sorted(running, key=lambda version: (version.app, version.revision))
            if version.backend is not None
        ]

    def first(self, version: VersionRecord) -> int:
        """The number of replicas that a version starts with."""
        app = self._records.apps.get(version.app)
        replaces = app is not None and app.target == version.id
        return self.counts.first(_sized(version), app.serving if app and replaces else None)

    def falling_asleep(self) -> set[str]:
        """The versions to whose replicas no request is sent any more, although they are still there."""
        return self._falling_asleep.versions

    def is_waking(self, version: str) -> bool:
        """Whether Serve was asked for replicas of a version that slept, and none is ready."""
        return bool(self.counts.wanted(version)) and version in self.counts.resting()

    def advise(self, replica_id: str, version: str, advice: Advice | None) -> Signals | None:
        """Go by what a version's own policy said in a replica, and tell what to ask it; None for all but one replica.

        The first of its replicas asks: another one does so when that has ended.
        """
        first = min((each.info.replica_id for each in self._records.of_version(version)), default=None)
        if replica_id != first:
            return None
        ready = self._records.ready().get(version, 0)
        return self.counts.advise(version, time.monotonic(), advice, ready)

    async def adjust(self) -> bool:
        """Ask for as many replicas as the traffic of each version needs, and learn why some have fewer.

        Returns whether requests are to be sent elsewhere than before.
        """
        before = self.falling_asleep()
        await self._scale()
        await self._learn_what_waits(self._records.ready())
        return self.falling_asleep() != before

    async def _scale(self) -> None:
        versions = [
            _sized(version) for version in self._records.versions.values() if self._has_a_size(version)
        ]
        followed = [
            version.backend
            for version in versions
            if version.spec.scaling and version.phase is VersionPhase.READY and version.backend is not None
        ]
        traffic = await self._traffic(followed) if followed else {}
        advised = [
            each.backend for each in versions if each.spec.scaling and each.spec.scaling.by == "policy"
        ]
        figures = (
            await self._figures([backend for backend in advised if backend in followed]) if advised else {}
        )
        ready, at = self._records.ready(), time.monotonic()
        staying = {version: count for version, count in ready.items() if version not in self.falling_asleep()}
        working = {each.info.version for each in self._records.replicas.values() if each.info.working}
        changes = self.counts.changes(versions, staying, traffic, at, working, figures)
        for version, replicas in self._falling_asleep.due(changes, ready, at).items():
            try:
                await asyncio.to_thread(deployment.scale, version, replicas)
            except Exception as error:  # noqa: BLE001  # whatever Serve says of this one, the others go on
                logger.warning("Serve does not give %s %d replicas yet: %s", version, replicas, error)
            else:
                logger.info("%d replicas of %s", replicas, version)
                record = self._records.versions.get(version)
                if self.counts.wanted(version) == 0 and record is not None and record.error is not None:
                    # The reason why it could not be woken may be over: it is tried again.
                    self._records.put_version(replace(record, error=None))
                self._cold_starts[version] += self.counts.wanted(version) == 0 and replicas > 0
                self.counts.asked(version, replicas)
                self._falling_asleep.asked(version, replicas, at)

    def _has_a_size(self, version: VersionRecord) -> bool:
        if version.phase is VersionPhase.READY:
            return self._records.is_wanted(version) and self._records.is_serving(version)
        # Of one that is being built Serve knows nothing, and nothing was asked for.
        return version.phase is VersionPhase.DEPLOYING and self.counts.wanted(version.id) is not None

    def _is_short(self, version: VersionRecord, ready: int) -> bool:
        wanted = self.counts.wanted(version.id)
        least = version.spec.replicas if wanted is None else wanted
        return version.phase in (VersionPhase.DEPLOYING, VersionPhase.READY) and ready < least

    async def _learn_what_waits(self, ready: Mapping[str, int]) -> None:
        active = [app for app in self._records.apps.values() if app.desired == "active"]
        wanted = (version for app in active for version in (app.target, *app.shares))
        targets = [_sized(self._records.versions[version]) for version in wanted]
        short = [version for version in targets if self._is_short(version, ready.get(version.id, 0))]
        waiting: dict[str, str] = {}
        if short:
            cluster = await asyncio.to_thread(nodes.look)
        for version in short:
            gets = placement.fitted(version.spec.environment, cluster, version.spec.replicas)
            waits = placement.waiting(gets, cluster)
            if waits is not None and await asyncio.to_thread(deployment.has_unplaced, version.id):
                waiting[version.id] = waits
                if version.id not in self.waiting:
                    logger.info("A replica of %s %s", version.id, waits)
        self.waiting = waiting


def _sized(version: VersionRecord) -> VersionRecord:
    """A version with the bounds of its replicas that hold now."""
    return replace(version, spec=sized(version.spec, now()))
