"""Who may write to a registry, where several believe that they may."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flyteray._control.registry import tables
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.store.lease import Holder, guard_others
from flyteray.errors import InitializationError, RegistryTakenError, RegistryUnavailableError
from tests.postgresql import Server
from tests.unit._control.registry.store import writer
from tests.unit.builders import NOON, run_spec
from tests.waiting import eventually

HERE, THERE = Holder("1", "the cluster here"), Holder("2", "the cluster there")
SHORT_S = 0.6


class Controller:
    """What has a registry, and keeps why it was told to write no more."""

    def __init__(self, url: str, holder: Holder = HERE, lease_s: float = 15.0) -> None:
        self.told: list[str] = []
        self.registry = Registry(url)
        try:
            self.registry.take(holder, self.told.append, lease_s)
        except BaseException:
            self.registry.close()
            raise

    def writes(self, name: str) -> None:
        self.registry.runs.create(run_spec(name), NOON)

    def close(self) -> None:
        self.registry.close()


class Process:
    """A controller in a process of its own, which writes when it is told to."""

    def __init__(self, url: str, cluster: str, lease_s: float) -> None:
        command = [sys.executable, "-m", writer.__name__, url, cluster, str(lease_s)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=Path(__file__).parents[5], stdin=pipe, stdout=pipe, text=True
        )
        assert self.hears() == "taken"

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def writes(self, name: str) -> str:
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return self.hears()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Controller]
Spawn = Callable[[str, float], Process]


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Start controllers, which are ended with the test."""
    with contextlib.ExitStack() as ended:

        def start(holder: Holder = HERE, lease_s: float = 15.0) -> Controller:
            return ended.enter_context(contextlib.closing(Controller(url, holder, lease_s)))

        yield start


@pytest.fixture
def spawn(url: str) -> Iterator[Spawn]:
    """Start controllers in processes of their own, which are ended with the test."""
    with contextlib.ExitStack() as ended:
        yield lambda cluster, lease_s: ended.enter_context(contextlib.closing(Process(url, cluster, lease_s)))


def test_the_newest_controller_of_a_cluster_writes_and_an_older_one_no_more(start: Start) -> None:
    older = start()
    older.writes("before")
    newer = start()

    newer.writes("new")
    with pytest.raises(RegistryTakenError, match=r"a newer one of its cluster has taken over at \d{4}-"):
        older.writes("old")

    assert sorted(newer.registry.runs.unfinished()) == ["before", "new"]
    assert (len(older.told), newer.told) == (1, [])


def test_an_older_controller_learns_of_a_newer_one_without_writing(start: Start) -> None:
    older = start(lease_s=SHORT_S)
    start()

    eventually(lambda: older.told)


def test_what_an_older_controller_is_writing_is_whole_before_a_newer_one_begins(
    url: str, start: Start
) -> None:
    older = start()
    newer: list[Controller] = []
    taking = threading.Thread(target=lambda: newer.append(start()))

    with older.registry.database.write() as connection:
        connection.exec_driver_sql("UPDATE lease SET name = 'half'")
        taking.start()
        taking.join(0.2)  # by now it would have begun
        assert taking.is_alive()
    taking.join()

    newer[0].writes("new")


def test_another_cluster_is_told_who_has_the_registry_and_since_when(start: Start) -> None:
    first = start(HERE, lease_s=3.0)

    with pytest.raises(InitializationError) as refused:
        start(THERE, lease_s=3.0)

    first.writes("goes on")
    assert first.told == []
    message = str(refused.value)
    assert "is another cluster's: the cluster here has it since 20" in message
    assert "end that cluster: 3 s later this one takes the registry over by itself" in message
    assert "hunter2" not in message


def test_who_writes_without_a_lease_is_refused_while_another_cluster_has_it(url: str, start: Start) -> None:
    first = start(HERE, lease_s=3600.0)
    with contextlib.closing(Registry(url)) as registry:
        guard_others(registry.database, THERE)
        with pytest.raises(InitializationError, match=r"the cluster here has it since .*init\(address=…\)"):
            registry.runs.create(run_spec("there"), NOON)
        guard_others(registry.database, HERE)
        registry.runs.create(run_spec("own"), NOON)
        first.close()
        guard_others(registry.database, THERE)
        registry.runs.create(run_spec("there"), NOON)

        assert registry.runs.unfinished() == ["own", "there"]


def test_a_lease_that_was_released_is_taken_by_another_cluster_at_once(start: Start) -> None:
    first = start(HERE, lease_s=3600.0)
    first.registry.close()

    start(THERE).writes("there")


def test_a_database_whose_clock_was_set_back_does_not_keep_a_lease_for_longer(start: Start) -> None:
    first = start(HERE)
    with first.registry.database.write() as connection:
        connection.exec_driver_sql("UPDATE lease SET until = until + 3600")

    second = start(THERE, lease_s=SHORT_S)

    second.writes("there")
    with pytest.raises(RegistryTakenError, match="the cluster there has taken it over"):
        first.writes("here")


def test_a_lease_that_somebody_deleted_is_no_leave_to_write(start: Start) -> None:
    first = start()
    with first.registry.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM lease")

    with pytest.raises(RegistryTakenError, match="somebody has deleted its lease"):
        first.writes("r")


def test_clusters_that_come_at_the_same_time_are_not_both_it(url: str, start: Start) -> None:
    Registry(url).close()
    refused: list[InitializationError] = []

    def come(number: int) -> None:
        try:
            start(Holder(str(number), "one of them"), lease_s=3.0)
        except InitializationError as error:
            refused.append(error)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 3


def test_a_registry_of_an_older_flyteray_gets_a_lease(url: str, start: Start) -> None:
    older = Registry(url)
    older.runs.create(run_spec("kept"), NOON)
    with older.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE lease")
        connection.exec_driver_sql("UPDATE flyteray_schema SET version = 1")
    older.close()

    assert start().registry.runs.unfinished() == ["kept"]
    with start().registry.database.read() as connection:
        version = connection.exec_driver_sql("SELECT version FROM flyteray_schema").scalar()
    assert version == tables.SCHEMA == 3


def test_a_cluster_that_died_is_taken_over_when_its_lease_has_lapsed(spawn: Spawn, start: Start) -> None:
    dead = spawn("1", SHORT_S)
    assert dead.writes("here") == "written"
    dead.process.kill()

    second = start(THERE, lease_s=SHORT_S)

    second.writes("there")
    assert second.registry.runs.unfinished() == ["here", "there"]


def test_of_two_processes_that_believe_they_are_it_the_older_one_ends(url: str, spawn: Spawn) -> None:
    older = spawn("1", 3600.0)
    assert older.writes("before") == "written"
    older.process.send_signal(signal.SIGSTOP)  # as one on a node that nobody reaches
    with contextlib.closing(Registry(url)) as registry:
        with registry.database.write() as connection:
            connection.exec_driver_sql("UPDATE lease SET until = 0")  # the hour that it is not heard of
        newer = spawn("2", 3600.0)
        older.process.send_signal(signal.SIGCONT)

        assert "the cluster 2 has taken it over at 20" in older.writes("old")
        assert older.process.wait(60) == 3
        assert newer.writes("new") == "written"
        assert registry.runs.unfinished() == ["before", "new"]


def test_an_outage_of_the_database_takes_no_lease_away(postgresql: Server) -> None:
    name = postgresql.create()
    controller = Controller(postgresql.url(name), lease_s=SHORT_S)
    with postgresql.away():
        pass

    def writes() -> bool:
        try:
            controller.writes("r")
        except RegistryUnavailableError:
            return False
        return True

    eventually(writes)
    assert controller.told == []
    controller.registry.close()
    postgresql.drop(name)
