"""The registry's artifacts: their versions, in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from flyteray._actors.controller import Artifacts as ArtifactsDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.tables import artifact_schemas, artifacts
from flyteray._declare.near import did_you_mean
from flyteray._plan.triggers.artifacts import ArtifactInfo, ArtifactSpec, Publication, WatchSpec
from flyteray._plan.triggers.partitions import PartitionSchema
from flyteray.errors import ArtifactNotFoundError

_INFO = [artifacts.c.id, artifacts.c.spec, artifacts.c.created_at]


class ArtifactRecords(ArtifactsDoor):
    """Artifacts by name and version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish(self, published: Sequence[Publication]) -> list[ArtifactInfo]:
        with self._database.write() as connection:
            return [self._put(connection, spec, value) for spec, value in published]

    def _put(self, connection: Connection, spec: ArtifactSpec, value: bytes) -> ArtifactInfo:
        for found in _find(connection, _is(spec.name, spec.version)):
            if found.spec.model_copy(update={"run": spec.run, "action": spec.action}) != spec:
                raise ValueError(
                    f"Artifact {spec.name!r} has a version {spec.version!r} already, and it is another one. A version "
                    "never changes: leave Metadata(version=...) out, or choose another one."
                )
            return found
        row = {"name": spec.name, "version": spec.version, "spec": spec, "value": value, "created_at": now()}
        connection.execute(insert(artifacts), row)
        return _find(connection, _is(spec.name, spec.version))[0]

    async def get(self, name: str, version: str | None, partitions: dict[str, str]) -> ArtifactInfo:
        with self._database.read() as connection:
            found = self._matching(
                connection, WatchSpec(name=name, version=version, partitions=partitions), 1
            )
            if not found:
                raise _no_artifact(connection, name, version, partitions)
        return found[0]

    async def value(self, name: str, version: str) -> bytes:
        with self._database.read() as connection:
            found: bytes | None = connection.scalar(select(artifacts.c.value).where(_is(name, version)))
            if found is None:
                raise _no_artifact(connection, name, version, {})
        return found

    async def listall(
        self, name: str | None, partitions: dict[str, str], limit: int | None
    ) -> list[ArtifactInfo]:
        with self._database.read() as connection:
            if name is None and not partitions:
                return _find(connection, limit=limit)
            every = _find(connection, *([artifacts.c.name == name] if name is not None else []))
            return [each for each in every if partitions.items() <= each.spec.partitions.items()][:limit]

    async def names(self) -> list[str]:
        with self._database.read() as connection:
            return list(connection.scalars(select(artifacts.c.name).distinct().order_by(artifacts.c.name)))

    async def delete(self, name: str, version: str) -> None:
        with self._database.write() as connection:
            if not connection.execute(delete(artifacts).where(_is(name, version))).rowcount:
                raise _no_artifact(connection, name, version, {})

    async def declare(self, name: str, schema: PartitionSchema) -> PartitionSchema:
        with self._database.write() as connection:
            declared = _declared(connection, name)
            known = declared or _of_first(connection, name)
            if known is not None and (known.declared or known.all_keys) and not known.has(schema):
                raise ValueError(
                    f"The partitions of artifact {name!r} are {known}, and these would be others: {schema}. What has "
                    "other partitions needs another name."
                )
            if declared is None:
                connection.execute(insert(artifact_schemas), {"name": name, "schema": schema})
            return schema

    async def schema(self, name: str) -> PartitionSchema:
        with self._database.read() as connection:
            found = _declared(connection, name) or _of_first(connection, name)
            if found is None:
                raise _no_artifact(connection, name, None, {})
        return found

    def newest(self) -> int:
        """The id of the version that came last; 0: there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(artifacts.c.id))) or 0

    def after(self, seen: int, watch: WatchSpec) -> list[ArtifactInfo]:
        """The versions that somebody waits for and that came after the one with the id ``seen``, the oldest first.

        Nobody waits for one with other partitions than are declared.
        """
        with self._database.read() as connection:
            found = _find(connection, artifacts.c.name == watch.name, artifacts.c.id > seen)
            fixed = _declared(connection, watch.name)
        return [
            each
            for each in reversed(found)
            if watch.takes(each.spec) and (fixed is None or fixed.has(PartitionSchema.of(each.spec)))
        ]

    def _matching(self, connection: Connection, watch: WatchSpec, limit: int) -> list[ArtifactInfo]:
        found = _find(connection, artifacts.c.name == watch.name)
        return [each for each in found if watch.takes(each.spec)][:limit]


def _declared(connection: Connection, name: str) -> PartitionSchema | None:
    return connection.scalar(select(artifact_schemas.c.schema).where(artifact_schemas.c.name == name))


def _of_first(connection: Connection, name: str) -> PartitionSchema | None:
    """The partitions of the first version that has some; those of none where there are versions without."""
    found = [PartitionSchema.of(each.spec) for each in reversed(_find(connection, artifacts.c.name == name))]
    return next((each for each in found if each.all_keys), found[0] if found else None)


def _is(name: str, version: str) -> Any:
    return (artifacts.c.name == name) & (artifacts.c.version == version)


def _find(connection: Connection, *conditions: Any, limit: int | None = None) -> list[ArtifactInfo]:
    query = select(*_INFO).where(*conditions).order_by(artifacts.c.id.desc()).limit(limit)
    return [ArtifactInfo(**row._mapping) for row in connection.execute(query)]


def _no_artifact(
    connection: Connection, name: str, version: str | None, partitions: dict[str, str]
) -> ArtifactNotFoundError:
    found = _find(connection, artifacts.c.name == name, limit=3)
    if found:
        told = "".join(f" with {key}={value}" for key, value in partitions.items())
        newest = ", ".join(repr(each.spec.version) for each in found)
        return ArtifactNotFoundError(
            f"Artifact {name!r} has no version{f' {version!r}' if version else ''}{told}. The newest are {newest}."
        )
    names = connection.scalars(select(artifacts.c.name).distinct()).all()
    return ArtifactNotFoundError(f"There is no artifact {name!r}.{did_you_mean(name, names)}")
