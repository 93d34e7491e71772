"""The registry's database, SQLite or PostgreSQL: it gives connections and transactions, and has the schema made."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Table, event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from flyteray import _private
from flyteray._control.registry import tables
from flyteray.errors import InitializationError

_BUSY_MS = 30_000  # how long a writer waits for another one


class Database:
    """A pool of connections, to tables that this flyteray knows.

    Args:
        url: A SQLAlchemy URL: ``sqlite:////path/registry.sqlite`` (made if missing) or ``postgresql://…``.

    Raises:
        ValueError: not a URL, or of another database.
        InitializationError: the database can't be opened, or was written by a newer flyteray.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        shown = self._engine.url.render_as_string(hide_password=True)
        try:
            with self.write() as connection:
                tables.schema.create(connection, checkfirst=True)
                found = connection.scalar(select(tables.schema.c.version)) or tables.SCHEMA
                if found <= tables.SCHEMA:
                    tables.metadata.create_all(connection)
                    row = {"id": 1, "version": tables.SCHEMA}
                    connection.execute(self.upsert(tables.schema, ["id"]), row)
        except DBAPIError as error:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {shown} can't be opened: {error.orig}. Check the address and that it may be "
                "written, or name another one with flyteray.init(database=…).",
            ) from error
        if found > tables.SCHEMA:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The registry {shown} was written by a newer flyteray (schema {found}; this one knows "
                f"{tables.SCHEMA}): upgrade flyteray, or name another one with flyteray.init(database=…).",
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that reads, in one transaction."""
        with self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection that writes, in one transaction, which is taken back by an error."""
        # Marked before its transaction begins.
        with self._engine.connect().execution_options(flyteray_writes=True) as connection, connection.begin():
            yield connection

    def upsert(self, table: Table, keys: Sequence[str]) -> Any:
        """An INSERT that replaces the row with the same ``keys``."""
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table)
        rest = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=rest)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def now() -> datetime:
    """The time in UTC, as it is recorded."""
    return datetime.now(timezone.utc)


def recorded(info: BaseModel, table: Table) -> dict[str, Any]:
    """The fields of a model that a table has columns for."""
    return {name: value for name, value in info if name in table.c}


def _engine(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; an SQLite file's folder is made, nothing is opened yet."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    kind = parsed.get_backend_name() if parsed is not None and "://" in url else None
    if kind == "sqlite" and parsed is not None:
        if parsed.database:
            _make_private(Path(parsed.database))
        return _sqlite(create_engine(parsed))
    if kind in ("postgresql", "postgres") and parsed is not None:
        try:
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise InitializationError(
                "InitializationError",
                "user",
                "The registry is to be in PostgreSQL, whose driver is not installed: pip install 'psycopg[binary]'.",
            ) from error
    raise ValueError(
        f"{url!r} is no address of a registry: use sqlite:////path/to/file or postgresql://user@host/database."
    )


def _make_private(file: Path) -> None:
    """Make an SQLite file that its owner alone can read; SQLite gives those beside it the same modes."""
    _private.folder(file.parent)
    with _private.opened(file, "ab"):
        pass
    with contextlib.suppress(PermissionError):  # another user's, who has shared it
        file.chmod(_private.FILE)


def _sqlite(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # so that Python begins no transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        _write_ahead(connection)  # readers don't wait for the writer
        connection.execute("PRAGMA synchronous = NORMAL")  # with that, safe against crashes of processes
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails if another one wrote in between.
        writes = connection.get_execution_options().get("flyteray_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep a write-ahead log; SQLite waits for others in anything but this, which the first one of a file does."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
