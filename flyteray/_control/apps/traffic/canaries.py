"""Canaries are looked at while they have a share of the requests: each goes on, is promoted or taken back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from flyteray._control.apps.records import Records
from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord, with_share
from flyteray._control.registry.database import now
from flyteray._plan.traffic.canary import CanaryRecord
from flyteray._plan.traffic.figures import Figures

Asked = Callable[[Sequence[int]], Awaitable[dict[int, Figures]]]

_EVERY_S = 2.0


class Canaries:
    """The canaries of all apps. ``figures`` tells how the requests of backends went."""

    def __init__(self, records: Records, figures: Asked) -> None:
        self._records = records
        self._figures = figures
        self._seen: dict[int, Figures] = {}
        self._looked = 0.0

    async def look(self) -> bool:
        """Learn how the requests went; whether the traffic of an app is to be divided anew for it."""
        running = [version.id for version in self._records.versions.values() if _is_running(version)]
        if not running or time.monotonic() - self._looked < _EVERY_S:
            return False
        self._looked = time.monotonic()
        compared = {each: other for each in running if (other := self._other(each)) is not None}
        backends = {backend for pair in compared.values() for backend in pair}
        told = await self._figures(sorted(backends)) if backends else {}
        since = {backend: told[backend] - self._seen.get(backend, told[backend]) for backend in told}
        self._seen = told
        divided = [self._go_on(each, compared.get(each), since) for each in running]
        return any(divided)

    def _other(self, version: str) -> tuple[int, int] | None:
        """The backends of the version that serves and of a canary, where both have requests."""
        record = self._records.versions[version]
        app = self._records.apps.get(record.app)
        serving = self._records.versions.get(app.serving or "") if app else None
        if app is None or serving is None or version not in app.routed:
            return None
        if serving.backend is None or record.backend is None:
            return None
        return serving.backend, record.backend

    def _go_on(self, version: str, pair: tuple[int, int] | None, since: dict[int, Figures]) -> bool:
        record = self._records.versions.get(version)
        app = self._records.apps.get(record.app) if record else None
        if record is None or app is None or record.canary is None or app.desired == "stopped":
            return False
        canary = overruled(record, app)
        if canary is None:
            if pair is None:
                return False
            serving, mine = (since.get(backend, Figures()) for backend in pair)
            canary = record.canary.after(app.routed.get(version, 0), serving, mine, now())
        if canary != record.canary:
            self._records.put_version(replace(record, canary=canary))
        after = divided(app, version, canary, now())
        if after is not app:
            self._records.put_app(after)
        return after is not app


def overruled(version: VersionRecord, app: AppRecord) -> CanaryRecord | None:
    """The canary of a version at its end, where something else than its figures has ended it."""
    canary = version.canary
    assert canary is not None
    if version.phase is VersionPhase.FAILED:
        why = f": {version.error.code}: {version.error.message}" if version.error else ""
        return canary.ended("taken back", f"it could not start{why}")
    if app.target == version.id:
        return canary.ended("promoted", "by hand")
    if app.shares.get(version.id) != canary.spec.steps[canary.step]:
        return canary.ended("ended", "the traffic was divided in another way")
    return None


def divided(app: AppRecord, version: str, canary: CanaryRecord, at: datetime) -> AppRecord:
    """An app whose traffic is as a canary of a version asks for it; the same one where it is so already."""
    match canary.outcome:
        case "running" if app.shares.get(version) != (share := canary.spec.steps[canary.step]):
            return replace(app, shares=with_share(app.shares, version, share), updated_at=at)
        case "promoted" if app.target != version:
            return replace(app, target=version, shares={}, updated_at=at)
        case "taken back" if version in app.versions:
            return replace(app.without(version), updated_at=at)
    return app


def _is_running(version: VersionRecord) -> bool:
    return version.canary is not None and version.canary.outcome == "running"
