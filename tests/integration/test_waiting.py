"""What has not begun says what it waits for: to who looks and to who waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray._settings import Settings
from flyteray.remote import ActionPhase, Run
from tests.acceptance.command import Shell
from tests.integration import sample_waiting as samples
from tests.waiting import eventually, eventually_equal

pytestmark = pytest.mark.usefixtures("cluster")

WAITS_TWICE = """
import sys
from flyteray.remote import Run

run = Run.get(sys.argv[1])
for wait in run.outputs, run.wait:
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
FOR_CPUS = "waits for 2 CPUs on one node; free: 0 of 2"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Run]:
    """A run that has both CPUs until the test has ended."""
    run = flyte.run(samples.hold, str(tmp_path / "go"))
    run.wait(quiet=True, wait_for="running")
    try:
        yield run
    finally:
        (tmp_path / "go").touch()
        run.wait(quiet=True)


def flyteray(*words: str) -> subprocess.Popen[str]:
    return started("from flyteray.cli import main; main()", *words)


def started(*words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"FLYTERAY_HOME": str(Settings.load().home), "COLUMNS": "140"}
    command = [sys.executable, "-c", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def printed(*words: str) -> str:
    return Shell(Path.cwd(), Settings.load().home).flyteray(*words, COLUMNS="140").stdout


def test_a_run_that_has_no_room_says_what_is_short_and_who_has_it(held: Run) -> None:
    behind = flyte.run(samples.quick)
    last = flyte.run(samples.quick)
    waiting = eventually(lambda: Run.get(behind.name).info.waiting)

    assert waiting == f"{FOR_CPUS}; running: {held.name}"
    assert behind.phase is ActionPhase.WAITING_FOR_RESOURCES
    assert not behind.done()
    assert "1 other run was queued before it" in eventually(lambda: Run.get(last.name).info.waiting or "")
    assert {run.name for run in Run.listall(in_phase="waiting_for_resources")} == {behind.name, last.name}
    assert {run.name for run in Run.listall(in_phase="queued")} == {behind.name, last.name}
    assert Run.listall(in_phase="initializing") == []

    assert behind.name in printed("get", "run", "--in-phase", "waiting_for_resources")
    assert FOR_CPUS in " ".join(printed("get", "run", behind.name).split())
    told = json.loads(printed("get", "run", behind.name, "-o", "json"))
    assert (told["phase"], told["waiting"]) == ("waiting_for_resources", waiting)


def test_actions_that_have_no_room_say_so_and_their_run_as_well(tmp_path: Path) -> None:
    holder = flyte.run(samples.hold_one, str(tmp_path / "go"))
    holder.wait(quiet=True, wait_for="running")  # or the parent may begin and leave its CPU sooner
    run = flyte.run(samples.parent)
    try:
        # The parent's CPU is seen to be free a moment after it waits.
        told = "waits for 2 of its actions, which wait for 2 CPUs on one node; free: 1 of 2"
        eventually_equal(lambda: Run.get(run.name).info.waiting, told)

        root, *children = run.actions()
        assert (root.phase, root.waiting) == (ActionPhase.RUNNING, None)
        assert {child.phase for child in children} == {ActionPhase.WAITING_FOR_RESOURCES}
        assert {child.waiting for child in children} == {"waits for 2 CPUs on one node; free: 1 of 2"}
    finally:
        (tmp_path / "go").touch()
    assert run.outputs()[0] == ["ran", "ran"]
    assert holder.outputs()[0] is None
    assert [info.waiting for info in (run.info, *run.actions())] == [None] * 4


def test_who_waits_for_a_run_is_told_on_stderr(held: Run, capfd: pytest.CaptureFixture[str]) -> None:
    client = flyteray("run", str(Path(samples.__file__)), "quick")
    waiting = flyte.run(samples.quick)

    with client:
        assert client.stderr is not None
        lines = [client.stderr.readline(), client.stderr.readline()]
        held.abort()
        output, _ = client.communicate(timeout=60)

    assert "has started" in lines[0]
    assert FOR_CPUS in lines[1]
    assert "'ran'" in output
    assert waiting.outputs()[0] == "ran"


def test_who_stops_waiting_for_a_run_by_ctrl_c_is_told_that_it_goes_on(held: Run) -> None:
    behind = flyte.run(samples.quick)

    with started(WAITS_TWICE, behind.name) as script:
        assert script.stderr is not None
        for _ in range(2):
            assert f"Run {behind.name} {FOR_CPUS}" in script.stderr.readline()
            script.send_signal(signal.SIGINT)
            line = f"Run {behind.name} goes on; `flyteray abort run {behind.name}` ends it.\n"
            assert script.stderr.readline() == line
        assert script.communicate(timeout=60) == ("interrupted\n" * 2, "")

    assert not behind.done()
