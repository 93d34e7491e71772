"""The registry's database, SQLite or PostgreSQL: it gives connections and transactions, and has the schema made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Connection, Double, Table, inspect, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import CreateColumn

from flyteray._control.registry import tables
from flyteray._control.registry.store import engines
from flyteray.errors import InitializationError, RegistryUnavailableError

_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_SCHEMA_LOCK = 0x666C7974  # any number that nobody else takes
_SECONDS = {  # since 1970
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}


class Database:
    """A pool of connections, to tables that this flyteray knows.

    A database that is away makes each read and write raise, and all is well again when it is back. Whoever finds out
    has waited for it; for a moment after that others are told at once, so that a controller does not stand still.

    Args:
        url: A SQLAlchemy URL: ``sqlite:////path/registry.sqlite`` (made if missing) or ``postgresql://…``.
        answer_s: How long PostgreSQL may take to answer a statement; 10.

    Raises:
        ValueError: not a URL, or of another database.
        InitializationError: the database can't be opened, or was written by a newer flyteray.
    """

    def __init__(self, url: str, answer_s: float = engines.ANSWER_S) -> None:
        self._engine = engines.engine(url, answer_s)
        self.shown = engines.shown(self._engine.url)
        self._guard: Callable[[Connection], None] | None = None
        self._paused_until = 0.0
        self._why = ""
        try:
            self._make_schema()
        except (DBAPIError, RegistryUnavailableError) as error:
            why = self._why if isinstance(error, RegistryUnavailableError) else _reason(error)
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {self.shown} can't be opened: {why}. Check the address and that it may be "
                "written, or name another one with flyteray.init(database=…).",
            ) from error

    def _make_schema(self) -> None:
        with self.write() as connection:
            if self._engine.dialect.name == "postgresql":  # which fails one of two that make a table at once
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            tables.schema.create(connection, checkfirst=True)
            found = connection.scalar(select(tables.schema.c.version)) or 0
            if found <= tables.SCHEMA:
                tables.metadata.create_all(connection)
                _add_columns(connection)
            if found < tables.SCHEMA:
                row = {"id": 1, "version": tables.SCHEMA}
                connection.execute(self.upsert(tables.schema, ["id"]), row)
        if found > tables.SCHEMA:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {self.shown} was written by a newer flyteray (schema {found}; this one knows "
                f"{tables.SCHEMA}): upgrade flyteray, or name another one with flyteray.init(database=…).",
            )

    @property
    def clock(self) -> ColumnElement[float]:
        """The database's own time in seconds since 1970, for queries: the clocks of machines may differ."""
        return literal_column(_SECONDS[self._engine.dialect.name], Double)

    def guard(self, check: Callable[[Connection], None]) -> None:
        """Have each transaction that writes begin with a check, which raises where it must not go on."""
        self._guard = check

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that reads, in one transaction; RegistryUnavailableError where the database is away."""
        with self._connected() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, guarded: bool = True) -> Iterator[Connection]:
        """A connection that writes, in one transaction, which is taken back by an error; errors as in :meth:`read`.

        Unless ``guarded``, the check of :meth:`guard` is left out. A database that goes away while the transaction is
        committed leaves open whether it was.
        """
        # Marked before its transaction begins.
        with self._connected(flyteray_writes=True) as connection, connection.begin():
            if guarded and self._guard is not None:
                self._guard(connection)
            yield connection

    @contextlib.contextmanager
    def _connected(self, **options: Any) -> Iterator[Connection]:
        began = time.monotonic()
        if began < self._paused_until:
            raise self._unavailable()
        try:
            connection = self._engine.connect()
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            self._pause(began)
            raise self._unavailable(error) from error
        with connection:
            try:
                yield connection.execution_options(**options)
            except (OperationalError, InterfaceError) as error:
                if error.connection_invalidated:
                    self._pause(began)
                raise self._unavailable(error) from error

    def _pause(self, began: float) -> None:
        """Spare those who come next the wait that somebody has had since he began."""
        now = time.monotonic()
        self._paused_until = now + min(_PAUSE_S + 2 * (now - began), _LONGEST_PAUSE_S)

    def _unavailable(self, error: Exception | None = None) -> RegistryUnavailableError:
        if error is not None:
            self._why = _reason(error)
        return RegistryUnavailableError(
            f"The registry {self.shown} can't be used now: {self._why}. What was asked for may not be recorded: ask "
            "again when the database is back."
        )

    def upsert(self, table: Table, keys: Sequence[str]) -> Any:
        """An INSERT that replaces the row with the same ``keys``."""
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table)
        rest = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=rest)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def _add_columns(connection: Connection) -> None:
    """Give tables that an older flyteray made the columns that are new: each may be null, so the older one lives on."""
    there = inspect(connection)
    for table in tables.metadata.sorted_tables:
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in table.c:
            if column.name not in known:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                named = connection.dialect.identifier_preparer.format_table(table)
                connection.exec_driver_sql(f"ALTER TABLE {named} ADD COLUMN {added}")


def now() -> datetime:
    """The time in UTC, as it is recorded."""
    return datetime.now(timezone.utc)


def recorded(info: BaseModel, table: Table) -> dict[str, Any]:
    """The fields of a model that a table has columns for."""
    return {name: value for name, value in info if name in table.c}


def _reason(error: Exception) -> str:
    """What a driver says, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
