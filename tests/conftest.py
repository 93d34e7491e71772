"""One real Ray for the whole session: a local cluster of two cores in a home of its own."""

from __future__ import annotations

import signal
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
from tests.waiting import eventually

OURS = ("FLYTERAY_HOME", "FLYTERAY_NUM_CPUS", "FLYTERAY_PORT", "FLYTERAY_STORAGE", "FLYTERAY_DATABASE")
RAYS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", *local.LOOPBACK)


# A busy machine is slow, not wrong. A change is judged by the same examples as the one before it.
settings.register_profile(
    "flyteray", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("flyteray")

FOLDER = Path(__file__).parent
LONG = (
    "acceptance/test_examples.py",
    "acceptance/test_cli_on_a_cluster.py",
    "acceptance/test_browser.py",
    "integration/test_local_cluster.py",
    "integration/test_replica_life.py",
    "integration/test_recovery.py",
    "integration/test_servers.py",
    "integration/test_apps.py",
    "integration/test_images.py",
)


def pytest_configure() -> None:
    """Let Ctrl+C mean what it means in a terminal: a shell's ``pytest &`` ignores it, and all children would."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README first, as it takes longest; then what is about processes that no cluster is connected to; long
    files before short ones, so that no core is idle at the end while the other has a long one.
    """

    def rank(item: pytest.Item) -> tuple[int, int]:
        path = item.path.relative_to(FOLDER).as_posix()
        if path == "acceptance/test_readme.py":
            return 0, 0
        if path.startswith("unit/"):
            return 1, 0
        return 2, LONG.index(path) if path in LONG else len(LONG)

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
        of_cluster = Settings.load()
        started = local.start(of_cluster, quiet=True)
        try:
            yield started
        finally:
            ray.shutdown()
            local.stop(of_cluster)
    assert eventually(lambda: not processes.members(started.id, started.leader)), started.pids()
    assert not started.temp_dir.exists()
