"""What has not begun says what it waits for: to who looks and to who waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray._settings import Settings
from flyteray.remote import ActionPhase, Run
from tests.integration import sample_waiting as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

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
    environment = os.environ | {"FLYTERAY_HOME": str(Settings.load().home), "COLUMNS": "140"}
    command = [sys.executable, "-c", "from flyteray.cli import main; main()", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def printed(*words: str) -> str:
    with flyteray(*words) as process:
        return process.communicate(timeout=60)[0]


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

    listed = printed("get", "run")
    assert "WAITING" in listed
    assert FOR_CPUS in " ".join(printed("get", "run", behind.name).split())
    told = json.loads(printed("get", "run", behind.name, "-o", "json"))
    assert (told["phase"], told["waiting"]) == ("waiting_for_resources", waiting)


def test_actions_that_have_no_room_say_so_and_their_run_as_well(tmp_path: Path) -> None:
    holder = flyte.run(samples.hold_one, str(tmp_path / "go"))
    run = flyte.run(samples.parent)
    try:
        # The parent's CPU is seen to be free a moment after it waits.
        told = "waits for 2 of its actions, which wait for 2 CPUs on one node; free: 1 of 2"
        eventually(lambda: Run.get(run.name).info.waiting == told)

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
