"""The resident of a named cluster is started as its head's raylet was."""

from __future__ import annotations

from pathlib import Path

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


def test_a_python_that_has_no_flyteray_is_named_with_its_own_words(tmp_path: Path) -> None:
    python, log = tmp_path / "python", tmp_path / "resident.log"
    python.write_text("#!/bin/sh\necho \"No module named 'flyteray'\" >&2\nexit 1\n")
    python.chmod(0o700)
    settings = Settings(home=tmp_path, storage=str(tmp_path))

    failure = starter.start(settings, str(python), {}, 1, log)

    assert isinstance(failure, ClusterError)
    assert str(python) in str(failure)
    assert str(failure).endswith("No module named 'flyteray'")
