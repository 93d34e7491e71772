"""One real Ray for the whole session: a local cluster of two cores in a home of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from flyteray._cluster import local, processes
from flyteray._cluster.local import LocalCluster
from flyteray._settings import Settings
from tests.waiting import eventually

OURS = ("FLYTERAY_HOME", "FLYTERAY_NUM_CPUS", "FLYTERAY_PORT", "FLYTERAY_STORAGE", "FLYTERAY_DATABASE")
RAYS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", *local.LOOPBACK)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The cluster that flyteray's verbs use in this process; nothing of it remains afterwards."""
    with pytest.MonkeyPatch.context() as environment:
        for name in (*OURS, *RAYS):
            environment.delenv(name, raising=False)
        environment.setenv("FLYTERAY_HOME", str(tmp_path_factory.mktemp("home")))
        environment.setenv("FLYTERAY_NUM_CPUS", "2")
        settings = Settings.load()
        started = local.start(settings, quiet=True)
        try:
            yield started
        finally:
            ray.shutdown()
            local.stop(settings)
    assert eventually(lambda: not processes.members(started.id, started.leader)), started.pids()
    assert not started.temp_dir.exists()
