"""What is started once for all tests: a local cluster of two cores in a home of its own, and a PostgreSQL server."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from hypothesis import HealthCheck, settings

from flyteray._client.session.session import session
from flyteray._cluster import local, processes
from flyteray._cluster.local import LocalCluster
from flyteray._declare.this_cluster import this_process
from flyteray._settings import Settings
from tests import nodes
from tests.postgresql import Server, a_server, missing
from tests.s3_server import S3Server, s3_server
from tests.waiting import eventually

OURS = ("FLYTERAY_HOME", "FLYTERAY_NUM_CPUS", "FLYTERAY_PORT", "FLYTERAY_STORAGE", "FLYTERAY_DATABASE")
RAYS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", *local.LOOPBACK)


# A busy machine is slow, not wrong. A change is judged by the same examples as the one before it.
settings.register_profile(
    "flyteray", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("flyteray")

FOLDER = Path(__file__).parent
DURATIONS = FOLDER / "durations.json"
ONE_AUTHORITY = FOLDER / "one_authority.pem"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--measure`` writes how many seconds each file took, from which the next run takes its order."""
    parser.addoption(
        "--measure", action="store_true", help=f"Write {DURATIONS.name}, which tells the order of tests."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl+C mean what it means in a terminal: a shell's ``pytest &`` ignores it, and all children would.

    Ray's workers run at Ray's lowest priority unless told otherwise, and would starve beside tests that are busy.
    Nothing here asks the web: a client that reads the certificates of one authority instead of all begins 26 ms sooner.
    """
    os.environ.update(nodes.RAY_VARIABLES)
    os.environ.pop("SSL_CERT_DIR", None)
    os.environ["SSL_CERT_FILE"] = str(ONE_AUTHORITY)
    if config.getoption("measure") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Measure(), "measure")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Measure:
    """Adds up what the tests of each file take, their fixtures included."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one test's beginning, call or end."""
        self._seconds[Path(report.location[0]).relative_to(FOLDER.name).as_posix()] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Write what was measured; files that were not run keep what they had."""
        known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        measured = {file: round(seconds, 1) for file, seconds in self._seconds.items()}
        there = {file: seconds for file, seconds in (known | measured).items() if (FOLDER / file).exists()}
        DURATIONS.write_text(json.dumps(there, indent=1, sort_keys=True) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests connect to the cluster come last: the others are about processes that no cluster is
    connected to. Of each kind long files come first, so that no core is idle at the end while the other has one.
    """
    durations = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    connected = {item.path for item in items if "cluster" in getattr(item, "fixturenames", ())}

    def rank(item: pytest.Item) -> tuple[bool, float, str]:
        path = item.path.relative_to(FOLDER).as_posix()
        return item.path in connected, -durations.get(path, 0.0), path

    items.sort(key=rank)


@pytest.fixture
def own_session() -> Iterator[None]:
    """What a test tells `init`, and the home that it finds, holds for that test, whichever ran before."""
    for kept in (session, this_process):
        kept.cache_clear()
    yield
    for kept in (session, this_process):
        kept.cache_clear()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The cluster that flyteray's verbs use in this process; nothing of it remains afterwards."""
    with pytest.MonkeyPatch.context() as environment:
        for name in (*OURS, *RAYS):
            environment.delenv(name, raising=False)
        environment.setenv("FLYTERAY_HOME", str(tmp_path_factory.mktemp("home")))
        environment.setenv("FLYTERAY_NUM_CPUS", "2")
        environment.setenv("FLYTERAY_ACCESS_LOG", "on")
        of_cluster = Settings.load()
        started = local.start(of_cluster, quiet=True)
        try:
            yield started
        finally:
            ray.shutdown()
            local.stop(of_cluster)
    assert eventually(lambda: not processes.members(started.id, started.leader)), started.pids()
    assert not started.temp_dir.exists()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server, which the tests of a process share."""
    if why := missing():
        pytest.skip(why)
    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3-compatible server, which the tests of a process share."""
    with s3_server() as server:
        yield server
