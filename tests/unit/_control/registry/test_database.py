"""The registry's database, as many processes open it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from sqlalchemy import inspect

from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import actions


def test_a_new_file_is_opened_while_somebody_else_writes_to_it(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"
    modes: list[str] = []

    def open_it() -> None:
        with Database(f"sqlite:///{file}").read() as connection:
            modes.append(str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()))

    first = sqlite3.connect(file, isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    opening = threading.Thread(target=open_it)
    opening.start()
    opening.join(0.2)  # by now it would have been refused
    waited = opening.is_alive()
    first.execute("COMMIT")
    opening.join()
    first.close()

    assert (waited, modes) == (True, ["wal"])


def test_tables_of_an_older_flyteray_are_given_the_columns_that_are_new(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    with Database(url).write() as connection:
        for table, new in (("actions", "group"), ("actions", "created_at"), ("runs", "labels")):
            connection.exec_driver_sql(f'ALTER TABLE {table} DROP COLUMN "{new}"')
        row = "(run, action, task, phase, attempts) VALUES ('r1', 'a0', 'env.f', 'queued', 1)"
        connection.exec_driver_sql(f"INSERT INTO actions {row}")

    with Database(url).read() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("actions")}
        kept = connection.exec_driver_sql('SELECT run, task, "group" FROM actions').one()

    assert columns == {column.name for column in actions.c}
    assert tuple(kept) == ("r1", "env.f", None)
