"""The resident of a named cluster is started as its head's raylet was."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from flyteray._cluster.local import LocalCluster
from flyteray._cluster.processes import MARK, Leader
from flyteray._control import starter
from flyteray._settings import Settings
from flyteray.errors import ClusterError


def test_the_python_is_that_which_ray_was_started_with() -> None:
    raylet = [
        "/somewhere/raylet",
        "--raylet_socket_name=/tmp/ray/raylet",
        '--python_worker_command="/opt/my tools/bin/python" /opt/ray/setup_worker.py --node-ip-address=10.0.0.1',
        "--java_worker_command=",
    ]

    assert starter.python_of(raylet) == "/opt/my tools/bin/python"


def test_the_resident_of_the_local_cluster_has_nothing_of_the_job_that_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, seen = tmp_path / "python", tmp_path / "seen"
    python.write_text(f"#!/bin/sh\nenv > {seen}\nexit 1\n")
    python.chmod(0o700)
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"working_dir": "/of/the/job"}}')
    now, leader = datetime.now(timezone.utc), Leader.of(os.getpid())
    cluster = LocalCluster("marked", "127.0.0.1:6379", None, tmp_path, tmp_path / "token", now, leader)

    with pytest.raises(ClusterError, match="could not be started"):
        starter.start_on_local(cluster, Settings(home=tmp_path, storage=str(tmp_path)))

    variables = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
    assert variables[MARK] == "marked"
    assert variables["RAY_ADDRESS"] == cluster.address
    assert "RAY_JOB_CONFIG_JSON_ENV_VAR" not in variables


def test_a_python_that_has_no_flyteray_is_named_with_its_own_words(tmp_path: Path) -> None:
    python, log = tmp_path / "python", tmp_path / "resident.log"
    python.write_text("#!/bin/sh\necho \"No module named 'flyteray'\" >&2\nexit 1\n")
    python.chmod(0o700)
    settings = Settings(home=tmp_path, storage=str(tmp_path))

    failure = starter.start(settings, str(python), {}, 1, log)

    assert isinstance(failure, ClusterError)
    assert str(python) in str(failure)
    assert str(failure).endswith("No module named 'flyteray'")
