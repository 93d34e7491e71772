"""The keys that apps which require auth ask for, in the registry's database: by name and digest only."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from flyteray._control.registry import database
from flyteray._control.registry.tables import keys
from flyteray._declare.near import did_you_mean
from flyteray._plan.keys import check_name
from flyteray._plan.spec import KeyInfo
from flyteray.errors import KeyNotFoundError


class Keys:
    """What ``flyteray create key`` makes.

    Args:
        url: SQLAlchemy URL of the registry.
    """

    def __init__(self, url: str) -> None:
        self._engine = database.connect(url)
        with self._engine.connect() as connection, database.writing(connection).begin():
            keys.create(connection, checkfirst=True)

    def create(self, name: str, digest: str) -> KeyInfo:
        """Let a key in from now on.

        Args:
            name: Whose it is.
            digest: Of the key; the key itself never comes here.

        Raises:
            ValueError: A bad name, or one that is taken.
        """
        check_name(name)
        info = KeyInfo(name=name, created_at=datetime.now(timezone.utc))
        try:
            with self._engine.connect() as connection, database.writing(connection).begin():
                connection.execute(insert(keys), {**dict(info), "digest": digest})
        except IntegrityError:
            raise ValueError(
                f"There is a key {name!r} already: choose another name, or delete it first with "
                f"`flyteray delete key {name}`."
            ) from None
        return info

    def listall(self, limit: int | None) -> list[KeyInfo]:
        """Keys by name; all of them for None."""
        query = select(keys.c.name, keys.c.created_at).order_by(keys.c.name).limit(limit)
        with self._engine.connect() as connection:
            return [KeyInfo(**row._mapping) for row in connection.execute(query)]

    def delete(self, name: str) -> None:
        """Let a key in no more.

        Raises:
            KeyNotFoundError: There is none of that name.
        """
        with self._engine.connect() as connection, database.writing(connection).begin():
            if connection.execute(delete(keys).where(keys.c.name == name)).rowcount:
                return
        known = [info.name for info in self.listall(None)]
        raise KeyNotFoundError(
            f"There is no key {name!r}. Keys there are: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
        )

    def names(self) -> dict[str, str]:
        """Whose each key is: the name by the digest."""
        with self._engine.connect() as connection:
            return {row.digest: row.name for row in connection.execute(select(keys))}

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()
