"""Programs whose replica and guard were killed in the same instant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flyteray._serve.programs.orphans import end_orphans
from flyteray._serve.programs.program import Program
from tests.processes import runs, words
from tests.waiting import eventually

PROGRAM = """
import subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
time.sleep(600)
"""
REPLICA = f"""
import os, sys, time
from pathlib import Path
from flyteray._serve.programs.program import Program
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


CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
from flyteray._serve.programs import orphans
orphans.mark_children()
subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
sys.stdin.readline()
orphans.end_children()
print(*[each.status() for each in orphans.psutil.Process().children()], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def parent() -> Iterator[psutil.Popen]:
    pipe = subprocess.PIPE
    process = psutil.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe, text=True)
    yield process
    for each in [*process.children(recursive=True), process] if process.is_running() else []:
        each.kill()
    process.communicate()


def child_of(parent: psutil.Popen) -> psutil.Process:
    return eventually(lambda: next(iter(parent.children()), None))


def test_what_a_replica_has_started_ends_with_it_even_if_it_will_not(parent: psutil.Popen) -> None:
    child = child_of(parent)
    parent.stdin.write("\n")
    parent.stdin.flush()

    assert parent.stdout.readline().split() in ([], ["zombie"])
    assert not runs(child)


def test_what_a_killed_replica_has_left_is_ended_by_the_next_and_that_of_a_living_one_is_not(
    parent: psutil.Popen,
) -> None:
    child = child_of(parent)
    eventually(lambda: "time.sleep" in " ".join(words(child)))
    end_orphans()
    assert runs(child)

    parent.kill()
    eventually(lambda: not runs(parent))
    end_orphans()

    assert not runs(child)
