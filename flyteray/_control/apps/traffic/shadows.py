"""Shadows are looked at while they get copies of requests: what came of them is recorded, and when they have ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from flyteray._control.apps.records import Records
from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord
from flyteray._control.registry.database import now
from flyteray._plan.traffic.shadow import Compared, ShadowRecord

AskedOfCopies = Callable[[Sequence[str]], Awaitable[dict[str, Compared]]]

_EVERY_S = 2.0


class Shadows:
    """The shadows of all apps. ``compared`` tells what came of the copies for them, by name."""

    def __init__(self, records: Records, compared: AskedOfCopies) -> None:
        self._records = records
        self._compared = compared
        self._seen: dict[str, Compared] = {}
        self._looked = 0.0

    async def look(self) -> bool:
        """Learn what came of copies; whether the traffic of an app is to be divided anew for it."""
        running = [version for version in self._records.versions.values() if version.is_shadow]
        if not running or time.monotonic() - self._looked < _EVERY_S:
            return False
        self._looked = time.monotonic()
        told = await self._compared([version.shadow.name for version in running if version.shadow])
        changed = [self._go_on(version.id, told) for version in running]
        self._seen = told
        return any(changed)

    def _go_on(self, version_id: str, told: Mapping[str, Compared]) -> bool:
        version = self._records.versions.get(version_id)
        app = self._records.apps.get(version.app) if version else None
        if version is None or app is None or version.shadow is None or not version.is_shadow:
            return False
        shadow = version.shadow
        if (latest := told.get(shadow.name)) is not None:  # it may be another one since they were asked
            shadow = shadow.after(latest - self._seen.get(shadow.name, recorded(shadow.compared, latest)))
        shadow = gone_on(version, shadow, app, self._records.versions)
        if shadow != version.shadow:
            self._records.put_version(replace(version, shadow=shadow))
        if shadow.outcome == "running" or app.shares.get(version.id) != 0:
            return False
        self._records.put_app(replace(app.without_shadow(version.id), updated_at=now()))
        return True


def recorded(known: Compared, told: Compared) -> Compared:
    """What of that which is told of a shadow for the first time is ``known`` already, from a controller before.

    All of it where the ingresses have begun anew since, as nobody knows.
    """
    return known if told.chosen >= known.chosen else told


def gone_on(
    version: VersionRecord, shadow: ShadowRecord, app: AppRecord, versions: Mapping[str, VersionRecord]
) -> ShadowRecord:
    """The shadow that a version is, at its end where something has ended it."""
    if version.phase is VersionPhase.FAILED:
        why = f": {version.error.code}: {version.error.message}" if version.error else ""
        return shadow.ended(f"it could not start{why}")
    if app.target == version.id:
        return shadow.ended("it was promoted")
    if app.shares.get(version.id):
        return shadow.ended("it was given a share of the requests")
    if version.id not in app.versions:
        return shadow.ended("the traffic was divided in another way")
    serving = versions.get(app.serving or "")
    if serving is None or version.id not in app.routed:
        return shadow  # it comes up
    name = serving.spec.version_name
    if shadow.beside not in (None, name):
        return shadow.ended(f"{name} serves in place of {shadow.beside}")
    return shadow.next_to(name)
