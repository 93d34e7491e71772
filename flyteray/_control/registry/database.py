"""A connection pool to the registry's database: SQLite or PostgreSQL, nothing in between."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from flyteray import _private
from flyteray.errors import InitializationError

_BUSY_MS = 30_000  # how long a writer waits for another one


def connect(url: str) -> Engine:
    """An engine for a SQLAlchemy URL; an SQLite file's folder is made, nothing is opened yet.

    Raises:
        ValueError: not a URL, or of another database.
        InitializationError: PostgreSQL's driver is not installed.
    """
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


def writing(connection: Connection) -> Connection:
    """Mark a connection as one that will write; before its transaction begins."""
    return connection.execution_options(flyteray_writes=True)


def upsert(engine: Engine, table: Table, keys: Iterable[str]) -> Any:
    """An INSERT that replaces the row with the same ``keys``."""
    dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = list(keys)
    rest = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


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
