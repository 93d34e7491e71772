"""A registry in PostgreSQL that another cluster has, that is away for a while, and that another one takes over."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from flyteray._cluster import local, processes
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.store.lease import Holder
from flyteray._settings import Settings
from flyteray.errors import InitializationError
from tests.postgresql import PASSWORD, Server
from tests.processes import runs, words
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).with_name("sample_shared.py")


class Index(ThreadingHTTPServer):
    """An index of packages that is asked, and knows none as soon as it may say so."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()
        asked, may_answer = self.asked, self.may_answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.set()
                may_answer.wait()
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        super().__init__(("127.0.0.1", 0), Handler)


class Program:
    """The script in a process of its own, with a home and a registry."""

    def __init__(self, settings: Settings, index: str = "") -> None:
        others = ("RAY_", "FLYTERAY_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        ours = {"FLYTERAY_HOME": str(settings.home), "FLYTERAY_DATABASE": settings.database_url}
        environment = inherited | ours | {"INDEX": index}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def asked(self, line: str) -> str:
        self.told(line)
        return self.hears()

    def ends(self) -> str:
        """What it leaves on stderr."""
        return self.process.communicate(timeout=240)[1]


def controller(settings: Settings) -> psutil.Process | None:
    """The controller of a home's cluster; None between two lives of it."""
    cluster = local.find(settings)
    assert cluster is not None
    members = processes.members(cluster.id, cluster.leader)
    return next((each for each in members if "".join(words(each)[:1]).startswith("ray::Controller")), None)


def logs(settings: Settings) -> str:
    """What the processes of a home's cluster have logged."""
    cluster = local.find(settings)
    assert cluster is not None
    return "".join(file.read_text() for file in cluster.temp_dir.rglob("worker-*.err"))


@pytest.fixture
def index() -> Iterator[Index]:
    """An index of packages."""
    with Index() as index:
        threading.Thread(target=index.serve_forever).start()
        yield index
        index.may_answer.set()
        index.shutdown()


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    """The URL of a registry that is not there yet."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def here(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with a cluster, whose registry is to be there."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "FLYTERAY_"))]:
        monkeypatch.delenv(name)
    home, cpus = str(tmp_path / "here"), "1"
    settings = Settings.of({"FLYTERAY_HOME": home, "FLYTERAY_DATABASE": url, "FLYTERAY_NUM_CPUS": cpus})
    local.start(settings, quiet=True)
    yield settings
    local.stop(settings)


def test_a_registry_is_one_clusters_through_outages_and_until_it_is_taken_over(
    here: Settings, url: str, postgresql: Server, index: Index
) -> None:
    # Another cluster has it
    with contextlib.closing(Registry(url)) as other:
        other.take(Holder("x", "the cluster elsewhere"), lost=pytest.fail)
        refused = Program(here).ends()
    assert "is another cluster's: the cluster elsewhere" in refused
    assert PASSWORD not in refused
    program = Program(here, f"--index-url http://127.0.0.1:{index.server_port}/")
    assert program.hears() == "connected"
    assert program.asked("a") == "a"

    # Another cluster wants it
    with (
        contextlib.closing(Registry(url)) as other,
        pytest.raises(InitializationError, match=re.escape(f": the local cluster of {here.home} on")),
    ):
        other.take(Holder("x", "the cluster elsewhere"), lost=pytest.fail)

    # An outage
    first = controller(here)
    assert first is not None
    with postgresql.away():
        program.told("b")
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(1)  # by now it would have been told of a failure
    assert program.hears() == "a b"

    # An outage that a build ends in
    program.told("serve")
    assert index.asked.wait(240)
    with postgresql.away():
        index.may_answer.set()
        eventually(lambda: "or given up, when the registry is back" in logs(here), every=0.5)
    assert "nowhere" in program.hears()
    assert controller(here) == first

    # A controller that comes back while the database is away
    with postgresql.away():
        first.kill()
        eventually(lambda: not runs(first))
        eventually(lambda: "can't be opened" in program.asked("never"))
    eventually(lambda: program.asked("c") == "a b c")

    # Another cluster that takes over
    second = controller(here)
    assert second is not None
    with contextlib.closing(Registry(url)) as other:
        with other.database.write() as connection:
            connection.exec_driver_sql("UPDATE lease SET until = 0")
        other.take(Holder("x", "the cluster elsewhere"), lost=pytest.fail)
        eventually(lambda: not runs(second))
        eventually(lambda: "the cluster elsewhere has it since" in program.asked("never"))
    eventually(lambda: program.asked("d") == "a b c d")
    program.ends()
