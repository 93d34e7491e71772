"""Programs whose replica and guard were killed in the same instant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flyteray._serve.program import Program
from tests.processes import runs
from tests.waiting import eventually

PROGRAM = """
import subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
time.sleep(600)
"""
REPLICA = f"""
import os, sys, time
from pathlib import Path
from flyteray._serve.program import Program
Program([sys.executable, "-c", {PROGRAM!r}], os.environ, Path.cwd())
time.sleep(600)
"""


@pytest.fixture
def replica() -> Iterator[psutil.Popen]:
    process = psutil.Popen([sys.executable, "-c", REPLICA], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_whoever_starts_a_program_ends_what_a_killed_guard_and_replica_have_left(
    replica: psutil.Popen, tmp_path: Path
) -> None:
    def tree() -> list[psutil.Process]:
        return replica.children(recursive=True)

    eventually(lambda: [each.name() for each in tree()][2:] == ["sleep"])
    guard, _, stray = tree()
    replica.suspend()  # it must not see its guard's end
    os.kill(guard.pid, signal.SIGKILL)
    replica.kill()
    eventually(lambda: not runs(guard))
    other = Program(["sleep", "600"], os.environ, tmp_path)

    eventually(lambda: not runs(stray))

    assert other.running
    other.end(0)
    assert other.join(30) is not None
