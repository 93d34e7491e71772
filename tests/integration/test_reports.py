from __future__ import annotations

from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.errors import ReportNotFoundError
from flyteray.remote import ActionPhase, Run
from tests.integration import sample_tasks as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def report_of(run: Run) -> str:
    """The report of a run as far as there is one."""
    try:
        return run.get_report()
    except ReportNotFoundError:
        return ""


def test_a_report_is_read_while_its_task_runs_and_those_of_each_attempt_and_action_later(
    tmp_path: Path,
) -> None:
    run = flyte.run(samples.shows, str(tmp_path))

    running = eventually(lambda: "<p>try 1</p>" in (page := report_of(run)) and page)
    assert ">running<" in running
    assert "not yet" not in running
    (tmp_path / "seen").touch()
    run.wait()

    page = run.get_report()
    assert [part in page for part in ("<p>done</p>", "<p>not yet</p>", ">succeeded<")] == [True, True, True]
    assert f"run {run.name}</span><span>action a0</span><span>attempt 2</span>" in page
    first = run.get_report(attempt=1)
    assert [part in first for part in ("<p>try 0</p>", "<p>not yet</p>", ">failed<")] == [True, True, True]
    assert "Broken: the rate is &lt;negative&gt;" in first
    below = eventually(lambda: [action.action for action in run.actions() if action.parent])
    assert "<p>below 1</p>" in run.get_report(action=below[0])
    assert Run.get(run.name).get_report() == page

    with pytest.raises(ValueError, match=r"has no attempt 3: it has had 2"):
        run.get_report(attempt=3)
    with pytest.raises(ValueError, match=r"has no action 'a1' that has begun\. `flyteray get action"):
        run.get_report(action="a1")


def test_a_run_without_a_report_says_how_to_get_one() -> None:
    run = flyte.run(samples.double, 1)
    run.wait()

    with pytest.raises(ReportNotFoundError, match=r"has no report\. A task makes one where .*report=True"):
        run.get_report()


def test_however_a_task_ends_its_report_says_so() -> None:
    waits = flyte.run(samples.shows_and_waits)
    fails = flyte.run(samples.shows_and_returns_another_type)
    waits.wait(wait_for="running")
    eventually(lambda: [each for each in waits.actions() if each.phase is ActionPhase.RUNNING])
    waits.abort("enough")
    fails.wait()

    assert "o0 of task" in (told := fails.get_report()) or "RuntimeDataValidationError" in told
    assert [part in told for part in ("<p>shown</p>", ">failed<")] == [True, True]
    aborted = eventually(lambda: report_of(waits))
    assert [part in aborted for part in ("<p>before</p>", ">aborted<")] == [True, True]


def test_of_a_process_that_dies_what_was_flushed_is_there() -> None:
    run = flyte.run(samples.shows_and_dies)
    run.wait()

    page = run.get_report()
    assert [part in page for part in ("<p>flushed</p>", "<p>lost</p>", ">running<")] == [True, False, True]
