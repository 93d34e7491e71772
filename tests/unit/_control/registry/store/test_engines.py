"""Engines of databases that are away or slow, as the registry lives with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.registry import Registry
from flyteray.errors import InitializationError, RegistryUnavailableError
from tests.postgresql import PASSWORD, Server
from tests.unit.builders import NOON, app_record, run_spec, version_record
from tests.waiting import eventually


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    """The URL of a registry on a server that a test may end, and that is there again for the next one."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def is_back(registry: Registry) -> bool:
    try:
        registry.runs.unfinished()
    except RegistryUnavailableError:
        return False
    return True


def test_a_restart_between_two_verbs_is_not_noticed(registry: Registry, postgresql: Server) -> None:
    registry.runs.create(run_spec("before"), NOON)

    with postgresql.away():
        pass

    registry.runs.create(run_spec("after"), NOON)
    assert registry.runs.unfinished() == ["before", "after"]


def test_who_asks_during_an_outage_is_told_and_after_it_all_goes_on(
    registry: Registry, postgresql: Server
) -> None:
    registry.runs.create(run_spec("before"), NOON)
    with postgresql.away():
        with pytest.raises(
            RegistryUnavailableError, match=r"can't be used now: .*Connection refused"
        ) as told:
            registry.runs.create(run_spec("during"), NOON)
        with pytest.raises(RegistryUnavailableError, match="Connection refused"):
            registry.runs.unfinished()
    eventually(lambda: is_back(registry))
    registry.runs.create(run_spec("after"), NOON)

    assert registry.runs.unfinished() == ["before", "after"]
    assert "flyteray:***@127.0.0.1" in str(told.value)
    assert PASSWORD not in str(told.value) + str(told.value.__cause__)


def test_a_transaction_that_an_outage_ends_is_not_half_written(
    registry: Registry, postgresql: Server
) -> None:
    database = registry.database
    registry.apps.save_version(version_record("v1"))

    with pytest.raises(RegistryUnavailableError), database.write() as connection:  # noqa: PT012  # it is one
        connection.exec_driver_sql("DELETE FROM versions")
        with postgresql.away():
            pass
        connection.exec_driver_sql("DELETE FROM apps")

    eventually(lambda: is_back(registry))
    registry.apps.save_app(app_record(target="v1"))
    assert [version.id for version in registry.apps.load_versions()] == ["v1"]


def test_a_server_that_hangs_is_given_up(url: str, postgresql: Server) -> None:
    database = Database(f"{url}?connect_timeout=2", answer_s=0.5)
    keys = Keys(database)
    known = keys.grants()
    with postgresql.frozen():
        with pytest.raises(RegistryUnavailableError), database.read():
            pass
        at = time.monotonic()
        with pytest.raises(RegistryUnavailableError), database.read():
            pass
        again_s = time.monotonic() - at
        grants = keys.grants()

    assert again_s < 0.5, "it was waited for a second time"
    assert grants == known
    eventually(lambda: Registry(url).runs.unfinished() == [])
    database.close()


def test_a_statement_that_hangs_is_given_up(url: str, postgresql: Server) -> None:
    database = Database(url, answer_s=0.5)

    with (
        pytest.raises(RegistryUnavailableError, match=r"no answer within 0\.5 s"),
        database.read() as connection,
    ):
        connection.exec_driver_sql("SELECT pg_sleep(60)")

    database.close()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(url: str) -> None:
    database = Database(url)

    with pytest.raises(RegistryUnavailableError, match="statement timeout"), database.read() as connection:  # noqa: PT012  # it is one
        connection.exec_driver_sql("SET LOCAL statement_timeout = 50")
        connection.exec_driver_sql("SELECT pg_sleep(60)")

    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "8s"
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "10s"
    database.close()


def test_a_server_that_takes_no_writes_is_refused(url: str, postgresql: Server) -> None:
    name = url.rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(InitializationError, match=r"can't be opened: .*session is read-only"):
        Registry(url)


def test_many_make_one_registry_at_once(url: str) -> None:
    opened: list[Registry] = []
    threads = [threading.Thread(target=lambda: opened.append(Registry(url))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == len(threads)
    for registry in opened:
        registry.close()
