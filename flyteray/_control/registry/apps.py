"""The registry's apps, their versions and replicas: what the controller knows again after it has died."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, delete, select

from flyteray._control.apps.state import AppRecord, ReplicaRecord, VersionRecord
from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import apps, replicas, versions


class AppRecords:
    """Apps by name, versions and replicas by id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load_apps(self) -> list[AppRecord]:
        """All apps."""
        with self._database.read() as connection:
            return [AppRecord(**row._mapping) for row in connection.execute(select(apps))]

    def load_versions(self) -> list[VersionRecord]:
        """All versions of the apps there are, oldest first."""
        query = select(versions).join(apps, apps.c.name == versions.c.app).order_by(versions.c.created_at)
        with self._database.read() as connection:
            return [VersionRecord(**row._mapping) for row in connection.execute(query)]

    def load_replicas(self) -> list[ReplicaRecord]:
        """All replicas that were ready when last heard of."""
        with self._database.read() as connection:
            rows = connection.execute(select(replicas.c.info, replicas.c.slot))
            return [ReplicaRecord(**row._mapping) for row in rows]

    def save_app(self, app: AppRecord) -> None:
        """Keep an app as it is now; its target version must be saved before."""
        self._save(apps, "name", vars(app))

    def save_version(self, version: VersionRecord) -> None:
        """Keep a version as it is now."""
        self._save(versions, "id", vars(version))

    def save_replica(self, replica: ReplicaRecord) -> None:
        """Keep a replica as it is now; its version must be saved before."""
        info = replica.info
        values = {"id": info.replica_id, "version": info.version, "info": info, "slot": replica.slot}
        self._save(replicas, "id", values)

    def delete_replica(self, replica_id: str) -> None:
        """Forget a replica; an unknown one is fine."""
        with self._database.write() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

    def delete_app(self, name: str) -> None:
        """Forget an app, its versions and their replicas; an unknown one is fine."""
        with self._database.write() as connection:
            connection.execute(delete(versions).where(versions.c.app == name))
            connection.execute(delete(apps).where(apps.c.name == name))

    def _save(self, table: Table, key: str, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(self._database.upsert(table, [key]), values)
