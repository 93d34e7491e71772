"""The registry's keys: those that apps which require auth ask for, and who has made and deleted them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from flyteray._actors.controller import Keys as KeysDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.tables import key_changes, keys
from flyteray._declare.near import did_you_mean
from flyteray._ingress.entry.grants import FOREVER, Grant
from flyteray._plan.credentials import check_key
from flyteray._plan.spec import KeyChange, KeyInfo, KeySpec
from flyteray.errors import KeyNotFoundError, RegistryUnavailableError


class Keys(KeysDoor):
    """Keys by name and digest; the keys themselves never come here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: list[Callable[[], Awaitable[None]]] = []
        self._grants: dict[str, Grant] | None = None

    def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Have ``changed`` called with every change, which is answered when that has returned."""
        self._watchers.append(changed)

    async def create(self, wanted: KeySpec, digest: str) -> KeyInfo:
        check_key(wanted)
        info = KeyInfo(**dict(wanted), created_at=now())
        row = {**dict(info), "apps": " ".join(wanted.apps) or None, "digest": digest}
        try:
            with self._database.write() as connection:
                connection.execute(insert(keys), row)
                _note(connection, "created", info.name, info.by)
        except IntegrityError:
            with self._database.read() as connection:
                found = connection.execute(select(keys).where(keys.c.name == info.name)).one_or_none()
            if found is None or found.digest != digest:
                raise ValueError(
                    f"There is a key {info.name!r} already: choose another name, or delete it first with "
                    f"`flyteray delete key {info.name}`."
                ) from None
            info = _info(found)  # asked again, after an answer that was lost
        await self._changed()
        return info

    async def listall(self, limit: int | None) -> list[KeyInfo]:
        with self._database.read() as connection:
            return [_info(row) for row in connection.execute(select(keys).order_by(keys.c.name).limit(limit))]

    async def changes(self, limit: int | None) -> list[KeyChange]:
        query = select(key_changes).order_by(key_changes.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [
                KeyChange(name=row.name, action=row.action, at=row.at, by=row.by)
                for row in connection.execute(query)
            ]

    async def delete(self, name: str, by: str | None = None) -> None:
        with self._database.write() as connection:
            if connection.execute(delete(keys).where(keys.c.name == name)).rowcount == 0:
                known = connection.scalars(select(keys.c.name).order_by(keys.c.name)).all()
                raise KeyNotFoundError(
                    f"There is no key {name!r}. Keys there are: {', '.join(known) or 'none'}."
                    f"{did_you_mean(name, known)}"
                )
            _note(connection, "deleted", name, by)
        await self._changed()

    def grants(self) -> dict[str, Grant]:
        """What each key opens, by digest; what was last known while the database is away."""
        try:
            with self._database.read() as connection:
                self._grants = {row.digest: _grant(_info(row)) for row in connection.execute(select(keys))}
        except RegistryUnavailableError:
            if self._grants is None:
                raise
        return self._grants

    async def _changed(self) -> None:
        for changed in self._watchers:
            await changed()


def _note(connection: Connection, action: str, name: str, by: str | None) -> None:
    connection.execute(insert(key_changes), {"name": name, "action": action, "at": now(), "by": by})


def _info(row: Row[tuple[object, ...]]) -> KeyInfo:
    return KeyInfo(
        name=row.name,
        created_at=row.created_at,
        role=row.role or "invoke",
        apps=tuple((row.apps or "").split()),
        expires_at=row.expires_at,
        by=row.by,
        priority=row.priority or "normal",
    )


def _grant(info: KeyInfo) -> Grant:
    expires = FOREVER if info.expires_at is None else int(info.expires_at.timestamp())
    return Grant(info.name, info.role, frozenset(info.apps), expires, priority=info.priority)
