"""Engines connect to a registry's database: to an SQLite file, or to a PostgreSQL server that may be slow or away."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from flyteray import _private
from flyteray.errors import InitializationError

if TYPE_CHECKING:
    from psycopg.abc import PQGen

_BUSY_MS = 30_000  # how long a writer of SQLite waits for another one

ANSWER_S = 10.0
_STATEMENT_MS = 8000  # below the former: what the server itself ends leaves the connection whole
_IDLE_MS = 10_000  # a transaction of a process that is gone must not hold its locks for longer
_POOL_S = 10.0  # for a free connection
_CONNECTING = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",  # after a failover the server that was the first takes no writes
    "application_name": "flyteray",
}


def engine(url: str, answer_s: float = ANSWER_S) -> Engine:
    """An engine for a SQLAlchemy URL; an SQLite file's folder is made, nothing is opened yet.

    What the URL's query says of a connection to PostgreSQL, such as ``connect_timeout`` (3 seconds), counts. A server
    that does not answer a statement within ``answer_s`` seconds counts as gone.

    Raises:
        ValueError: not a URL, or of another database.
        InitializationError: the driver of PostgreSQL is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    kind = parsed.get_backend_name() if parsed is not None and "://" in url else None
    if kind == "sqlite" and parsed is not None:
        if parsed.database:
            _make_private(Path(parsed.database))
        return _sqlite(create_engine(parsed, hide_parameters=True))
    if kind in ("postgresql", "postgres") and parsed is not None:
        return _postgresql(parsed, answer_s)
    masked = re.sub(r"(?<=:)(/*).*@", r"\1***@", url)
    raise ValueError(
        f"{masked!r} is no address of a registry: use sqlite:////path/to/file or postgresql://user@host/database."
    )


def shown(url: URL) -> str:
    """A URL without what may be secret in it: the password, and the query, which may have another."""
    return url.set(query={}).render_as_string(hide_password=True)


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


def _postgresql(url: URL, answer_s: float) -> Engine:
    try:
        import psycopg  # deferred: an optional extra
    except ModuleNotFoundError as error:
        raise InitializationError(
            "InitializationError",
            "user",
            "The registry is to be in PostgreSQL, whose driver is not installed: pip install 'psycopg[binary]'.",
        ) from error

    class Impatient(psycopg.Connection[Any]):
        """A connection that is closed where the server does not answer: psycopg waits for as long as TCP does."""

        def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, answer_s if timeout is None else timeout)
            except psycopg.OperationalError as error:
                if timeout is None and type(error).__name__ == "_WaitTimeout":
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {answer_s:g} s") from error
                raise

    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,  # connections from before an outage
        pool_timeout=_POOL_S,
        connect_args={name: value for name, value in _CONNECTING.items() if name not in url.query},
        hide_parameters=True,  # in errors
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
        return Impatient.connect(*arguments, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # Not with the connection's options, which poolers of connections refuse.
        connection.autocommit = True
        connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_MS}")
        connection.autocommit = False

    return engine
