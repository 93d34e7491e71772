"""The records of apps are kept in memory and written through to the registry."""

from __future__ import annotations

import time
from collections import Counter

from flyteray._control.apps.state import RUNNING, AppRecord, ReplicaRecord, VersionRecord
from flyteray._control.registry.apps import AppRecords
from flyteray._ingress.routes import MOST, SLOTS, free_backend
from flyteray._plan.info import ReplicaInfo
from flyteray._plan.spec import AppSpec
from flyteray.errors import RuntimeSystemError

_SILENT_S = 12.0  # two reports that are missing, on a busy machine


class Records:
    """The apps by name, the versions by id and the ready replicas by id, as the registry has them."""

    def __init__(self, registry: AppRecords) -> None:
        self._registry = registry
        self.apps = {app.name: app for app in registry.load_apps()}
        self.versions = {version.id: version for version in registry.load_versions()}
        self.replicas = {replica.info.replica_id: replica for replica in registry.load_replicas()}
        self._heard: dict[str, float] = {}

    def put_app(self, app: AppRecord) -> None:
        """Keep an app as it is now."""
        self._registry.save_app(app)
        self.apps[app.name] = app

    def put_version(self, version: VersionRecord) -> None:
        """Keep a version as it is now."""
        self._registry.save_version(version)
        self.versions[version.id] = version

    def hear(self, replica_id: str) -> None:
        """Note that a replica has reported, as it does every few seconds."""
        self._heard[replica_id] = time.monotonic()

    def silent(self) -> set[str]:
        """The replicas that have not reported for long: something keeps their whole processes from it."""
        now = time.monotonic()
        self._heard = {each: self._heard.get(each, now) for each in self.replicas}
        return {each for each, heard in self._heard.items() if now - heard > _SILENT_S}

    def put_replica(self, info: ReplicaInfo) -> None:
        """Keep a ready replica as it is now; a new one gets the first free slot of its version."""
        known = self.replicas.get(info.replica_id)
        record = ReplicaRecord(info=info, slot=known.slot if known else self._free_slot(info.version))
        self._registry.save_replica(record)
        self.replicas[info.replica_id] = record

    def forget_replica(self, replica_id: str) -> bool:
        """Forget a replica; False where it was not known."""
        if self.replicas.pop(replica_id, None) is None:
            return False
        self._registry.delete_replica(replica_id)
        return True

    def forget_app(self, name: str) -> None:
        """Forget an app and its versions."""
        self._registry.delete_app(name)
        del self.apps[name]
        for version in self.of_app(name):
            del self.versions[version.id]

    def of_app(self, name: str) -> list[VersionRecord]:
        """The versions of an app."""
        return [version for version in self.versions.values() if version.app == name]

    def of_version(self, version: str) -> list[ReplicaRecord]:
        """The ready replicas of a version."""
        return [replica for replica in self.replicas.values() if replica.info.version == version]

    def ready(self) -> Counter[str]:
        """The number of ready replicas, by version."""
        return Counter(replica.info.version for replica in self.replicas.values())

    def running(self, name: str) -> list[VersionRecord]:
        """The versions of an app of which something runs."""
        return [version for version in self.of_app(name) if version.phase in RUNNING]

    def is_wanted(self, version: VersionRecord) -> bool:
        """Whether a version is to be there: its app is active, and it serves or is to serve."""
        app = self.apps.get(version.app)
        return app is not None and app.desired == "active" and version.id in app.versions

    def is_serving(self, version: VersionRecord) -> bool:
        """Whether the route of its app leads to a version, or did when the app was last there."""
        app = self.apps.get(version.app)
        return app is not None and version.id in app.takes_requests

    def specs(self) -> list[AppSpec]:
        """The specs of the versions that apps have or are to have, stopped apps included."""
        named = {version for app in self.apps.values() for version in app.versions}
        return [self.versions[version].spec for version in named if version in self.versions]

    def free_backend(self) -> int:
        """A place in the ingress; RuntimeSystemError where all are taken."""
        taken = (version.backend for version in self.versions.values() if version.backend is not None)
        free = free_backend(taken)
        if free is None:
            raise RuntimeSystemError("TooManyVersions", f"All {MOST} places in the ingress are taken.")
        return free

    def _free_slot(self, version: str) -> int:
        return min(set(range(1, SLOTS + 1)) - {replica.slot for replica in self.of_version(version)})
