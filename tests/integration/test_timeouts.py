from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import flyteray as flyte
from flyteray.errors import DeadlineExceededError, MaxRuntimeExceededError
from flyteray.remote import ActionPhase, Run
from tests.integration import sample_timeouts as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

ENDS_WITHIN_S = 60.0  # of 600 that it would take; how soon it does is for a benchmark


def noted(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()]


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def ends(run: Run) -> None:
    run.wait(quiet=True)
    assert run.phase is ActionPhase.TIMED_OUT


def attempts_of(run: Run) -> list[Any]:
    return eventually(lambda: (found := run.attempts("a0")) and found[-1].phase.is_terminal and found)


@pytest.mark.parametrize("task", [samples.sleeps, samples.sits_in_c], ids=lambda task: task.short_name)
def test_an_attempt_that_runs_for_too_long_is_ended_and_tried_again(task: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    run = flyte.run(task, str(file))
    ends(run)

    with pytest.raises(MaxRuntimeExceededError, match="max_runtime of 2 seconds"):
        run.raise_for_status()
    first, second = attempts_of(run)
    assert [first.phase, second.phase] == [ActionPhase.TIMED_OUT] * 2
    for attempt in (first, second):
        assert 2.0 <= (attempt.ended_at - attempt.started_at).total_seconds() < ENDS_WITHIN_S, attempt
    for pid in noted(file):  # of a worker, or of a process that it had started
        assert eventually(lambda pid=pid: has_ended(pid))


def test_the_log_of_an_attempt_says_that_its_time_was_up(tmp_path: Path) -> None:
    run = flyte.run(samples.sleeps.override(retries=0), str(tmp_path / "notes"))
    ends(run)

    lines = eventually(lambda: len(found := run.get_logs()) > 1 and found)
    assert lines[0] == "sleeps now"
    assert "ran for longer than its max_runtime" in lines[1]


def test_a_parent_catches_the_timeouts_of_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    caught = flyte.run(samples.calls_each, str(tmp_path)).outputs()[0]

    names = ["sits_in_c", "awaits", "blocks", "does_not_listen"]
    assert caught == dict.fromkeys(names, "MaxRuntimeExceededError")
    assert time.monotonic() - began < 60
    killed = [pid for name in ("sits_in_c", "does_not_listen") for pid in noted(tmp_path / name)]
    assert all(eventually(lambda pid=pid: has_ended(pid)) for pid in killed)


def test_a_child_that_does_not_begin_in_time_is_given_up(tmp_path: Path) -> None:
    why = flyte.run(samples.calls_one_that_can_not_begin, str(tmp_path / "notes")).outputs()[0]

    assert "'timeouts-all.never_begins' had not begun after its max_queued_time of 2 seconds" in why


def test_no_attempt_is_made_after_the_deadline(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    run = flyte.run(samples.is_late, str(file))
    ends(run)

    with pytest.raises(DeadlineExceededError, match="deadline of 3 seconds"):
        run.raise_for_status()
    assert 1 <= len(noted(file)) <= 3


def test_one_action_is_aborted_and_its_caller_learns_why(tmp_path: Path) -> None:
    run = flyte.run(samples.says_why_its_child_ended, str(tmp_path / "notes"))

    def running() -> list[str]:
        found = [each for each in run.actions() if each.parent is not None]
        return [each.action for each in found if each.phase is ActionPhase.RUNNING]

    (child,) = eventually(running)
    with pytest.raises(ValueError, match="has no action 'b0'"):
        run.abort_action("b0")
    run.abort_action(child, "too slow")

    assert run.outputs()[0].endswith("'timeouts.sleeps_on', was aborted: too slow")
    assert run.phase is ActionPhase.SUCCEEDED
    ended = eventually(lambda: [each for each in run.actions() if each.phase is ActionPhase.ABORTED])
    assert [each.action for each in ended] == [child]
    assert "too slow" in ended[0].error
    run.abort_action(child)  # it stays as it is
