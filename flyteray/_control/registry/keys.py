"""The registry's keys: those that apps which require auth ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from flyteray._actors.controller import Keys as KeysDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.tables import keys
from flyteray._declare.near import did_you_mean
from flyteray._plan.credentials import check_key_name
from flyteray._plan.spec import KeyInfo
from flyteray.errors import KeyNotFoundError, RegistryUnavailableError


class Keys(KeysDoor):
    """Keys by name and digest; the keys themselves never come here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: list[Callable[[], Awaitable[None]]] = []
        self._names: dict[str, str] | None = None

    def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Have ``changed`` called with every change, which is answered when that has returned."""
        self._watchers.append(changed)

    async def create(self, name: str, digest: str) -> KeyInfo:
        check_key_name(name)
        info = KeyInfo(name=name, created_at=now())
        try:
            with self._database.write() as connection:
                connection.execute(insert(keys), {**dict(info), "digest": digest})
        except IntegrityError:
            with self._database.read() as connection:
                found = connection.execute(select(keys).where(keys.c.name == name)).one_or_none()
            if found is None or found.digest != digest:
                raise ValueError(
                    f"There is a key {name!r} already: choose another name, or delete it first with "
                    f"`flyteray delete key {name}`."
                ) from None
            info = KeyInfo(
                name=name, created_at=found.created_at
            )  # asked again, after an answer that was lost
        await self._changed()
        return info

    async def listall(self, limit: int | None) -> list[KeyInfo]:
        query = select(keys.c.name, keys.c.created_at).order_by(keys.c.name).limit(limit)
        with self._database.read() as connection:
            return [KeyInfo(**row._mapping) for row in connection.execute(query)]

    async def delete(self, name: str) -> None:
        with self._database.write() as connection:
            if connection.execute(delete(keys).where(keys.c.name == name)).rowcount == 0:
                known = connection.scalars(select(keys.c.name).order_by(keys.c.name)).all()
                raise KeyNotFoundError(
                    f"There is no key {name!r}. Keys there are: {', '.join(known) or 'none'}."
                    f"{did_you_mean(name, known)}"
                )
        await self._changed()

    def names(self) -> dict[str, str]:
        """The names of the keys' owners, by digest; those last known while the database is away."""
        try:
            with self._database.read() as connection:
                self._names = {row.digest: row.name for row in connection.execute(select(keys))}
        except RegistryUnavailableError:
            if self._names is None:
                raise
        return self._names

    async def _changed(self) -> None:
        for changed in self._watchers:
            await changed()
