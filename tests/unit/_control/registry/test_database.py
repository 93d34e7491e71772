"""The registry's database, as many processes open it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from flyteray._control.registry.database import Database


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
