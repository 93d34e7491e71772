"""Runs wait for answers: from code, from the command, and from a webhook that was told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray.errors import ConditionAlreadyExistsError, ConditionFailedError, RunNotFoundError
from flyteray.remote import ActionPhase, Condition, Run
from tests.integration import sample_conditions as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def waiting(run: Run) -> Condition:
    found = eventually(lambda: [each for each in Condition.listall(run.name) if each.info.state == "waiting"])
    assert len(found) == 1
    return found[0]  # type: ignore[no-any-return]


def test_a_run_is_paused_until_it_is_answered_and_is_not_asked_again() -> None:
    run = flyte.run(samples.asks, "bool")

    first = waiting(run)
    assert (first.name, first.prompt, first.data_type, first.run_name) == ("answer", "First?", bool, run.name)
    assert (first.expected_type, first.phase) == (bool, "PAUSED")
    assert run.sync().phase is ActionPhase.PAUSED
    assert run.info.waiting is not None
    assert f"flyteray signal condition {run.name} {first.action_name} <bool>" in run.info.waiting
    assert run.name in [each.name for each in Run.listall(in_phase=ActionPhase.PAUSED)]
    paused = [each for each in run.actions() if each.action == first.action_name]
    assert [each.phase for each in paused] == [ActionPhase.PAUSED]
    with pytest.raises(TypeError, match="true or false, got 3"):
        first.signal(3)
    first.signal(True)
    assert first.phase == "SUCCEEDED"
    second = eventually(lambda: (found := waiting(run)).prompt == "Second?" and found)
    second.signal("no")

    assert run.outputs()[0] == [True, False]
    assert run.actions()[0].attempts == 2
    assert [each.info.value for each in Condition.listall(run.name)] == [False, True]
    with pytest.raises(ConditionFailedError, match="waits no more: it was signalled by True"):
        first.signal(True)
    newest = Condition.get("answer", run_name=run.name)
    assert newest is not None
    assert newest.info.value is False
    assert Condition.get("other", run_name=run.name) is None


def test_the_command_answers() -> None:
    run = flyte.run(samples.asks, "int")
    for value in ("3", "4"):
        eventually(lambda: waiting(run))
        wrong = command("signal", "condition", run.name, "answer", "much")
        assert wrong.returncode == 2
        assert "a whole number, got 'much'" in wrong.stderr
        assert "Traceback" not in wrong.stderr
        right = command("signal", "condition", run.name, "answer", value)
        assert right.returncode == 0, right.stderr

    assert run.outputs()[0] == [3, 4]
    listed = command("get", "condition", run.name, "-o", "json")
    assert '"value": 4' in listed.stdout
    missing = command("signal", "condition", run.name, "other", "1")
    assert missing.returncode == 1
    assert "has no condition 'other'. It has answer." in missing.stderr


def test_who_waits_in_vain_is_told() -> None:
    assert flyte.run(samples.gives_up).outputs()[0] == "nobody came"


def test_one_task_can_not_wait_for_two_answers_by_one_name() -> None:
    with pytest.raises(ConditionAlreadyExistsError, match="'same' is waited for already"):
        flyte.run(samples.asks_twice_at_once).outputs()


def test_a_run_that_is_ended_waits_no_more() -> None:
    run = flyte.run(samples.asks, "bool")
    condition = waiting(run)
    run.abort()

    with pytest.raises(ConditionFailedError, match="waits no more: it was aborted"):
        condition.signal(True)
    with pytest.raises(RunNotFoundError):
        Condition.listall("no-such-run")


def command(*words: str) -> subprocess.CompletedProcess[Any]:
    program = str(Path(sys.executable).with_name("flyteray"))
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)
