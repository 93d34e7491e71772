from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from flyteray._control.runs.actions import after, as_of, kind_as_of, of_one_call
from flyteray._plan.actions.tree import Kind
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, ErrorInfo, RunInfo

events = st.lists(
    st.builds(
        ActionEvent,
        run=st.just("r"),
        action=st.just("a0"),
        parent=st.none(),
        task=st.just("env.train"),
        phase=st.sampled_from(ActionPhase),
        attempt=st.integers(0, 3),
        at=st.sampled_from([1.0, 2.0, 3.5, 4.25]),
        error=st.sampled_from([None, "x", "y"]),
    ),
    min_size=1,
    max_size=8,
)


def told(reports: list[ActionEvent]) -> ActionInfo:
    known: ActionInfo | None = None
    for event in reports:
        known = after(known, event)
    assert known is not None
    return known


def report(phase: ActionPhase, attempt: int = 0, at: float = 1.0, error: str | None = None) -> ActionEvent:
    return ActionEvent(
        run="r", action="a0", parent=None, task="t", phase=phase, attempt=attempt, at=at, error=error
    )


@given(reports=events, data=st.data())
def test_the_order_of_reports_makes_no_difference(reports: list[ActionEvent], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(reports))

    assert told(shuffled) == told(reports)


@given(reports=events, data=st.data())
def test_reports_that_repeat_make_no_difference(reports: list[ActionEvent], data: st.DataObject) -> None:
    repeated = reports + data.draw(st.lists(st.sampled_from(reports)))

    assert told(repeated) == told(reports)


@given(reports=events)
def test_success_recovery_and_abortion_are_final(reports: list[ActionEvent]) -> None:
    final = {ActionPhase.SUCCEEDED, ActionPhase.RECOVERED, ActionPhase.ABORTED}
    ends = {event.phase for event in reports} & final

    assert not ends or told(reports).phase in ends


@given(reports=events)
def test_an_end_has_a_time_and_nothing_else_has(reports: list[ActionEvent]) -> None:
    info = told(reports)

    assert (info.ended_at is not None) == info.phase.is_terminal


def test_a_failed_attempt_is_superseded_by_the_next() -> None:
    failed = report(ActionPhase.FAILED, attempt=0, at=2.0, error="x")
    running = report(ActionPhase.RUNNING, attempt=1, at=3.0)

    info = told([running, failed])

    assert (info.phase, info.attempts, info.error, info.ended_at) == (ActionPhase.RUNNING, 2, None, None)


def test_a_late_report_of_the_start_does_not_bring_a_failed_attempt_back() -> None:
    info = told([report(ActionPhase.FAILED, at=2.0, error="x"), report(ActionPhase.RUNNING, at=1.0)])

    assert (info.phase, info.error) == (ActionPhase.FAILED, "x")
    assert info.started_at == datetime.fromtimestamp(1.0, timezone.utc)


def test_an_abortion_counts_whatever_attempt_it_names() -> None:
    info = told([report(ActionPhase.RUNNING, attempt=2), report(ActionPhase.ABORTED, attempt=0, at=5.0)])

    assert (info.phase, info.attempts) == (ActionPhase.ABORTED, 3)


def test_what_was_aborted_with_its_caller_and_done_later_is_done() -> None:
    ends = [report(ActionPhase.SUCCEEDED, at=4.0), report(ActionPhase.ABORTED, at=3.0)]

    assert told(ends).phase is ActionPhase.SUCCEEDED
    assert told([report(ActionPhase.FAILED, attempt=1, at=4.0), ends[1]]).phase is ActionPhase.ABORTED


def test_of_two_ends_of_one_kind_the_first_counts_and_what_either_knows() -> None:
    by_worker = report(ActionPhase.SUCCEEDED, at=3.0).model_copy(update={"began": 2.0})
    by_caller = report(ActionPhase.SUCCEEDED, at=3.5)

    for reports in ([by_worker, by_caller], [by_caller, by_worker]):
        info = told(reports)
        assert info.ended_at == datetime.fromtimestamp(3.0, timezone.utc)
        assert info.started_at == datetime.fromtimestamp(2.0, timezone.utc)


ENDED = datetime(2026, 1, 1, tzinfo=timezone.utc)


def ended(phase: ActionPhase, seconds_ago: float, **action: str | None) -> ActionInfo:
    """A running action as of the end of its run."""
    error = None if phase is ActionPhase.SUCCEEDED else ErrorInfo(code="E", kind="user", message="why")
    run = RunInfo(name="r", task="t", phase=phase, created_at=ENDED, ended_at=ENDED, error=error)
    running = ActionInfo(
        run="r",
        task="t",
        phase=ActionPhase.RUNNING,
        attempts=1,
        started_at=ENDED,
        ended_at=None,
        error=None,
        **action,
    )  # type: ignore[arg-type]
    return as_of(run, running, ENDED + timedelta(seconds=seconds_ago))


def test_a_start_that_is_later_than_the_end_is_of_another_call_and_not_shown() -> None:
    failed, again = report(ActionPhase.FAILED, at=2.0, error="x"), report(ActionPhase.RUNNING, at=3.0)
    early = report(ActionPhase.RUNNING, at=1.5)

    assert of_one_call(told([failed, again])).started_at is None
    assert of_one_call(told([early, failed, again])).started_at == datetime.fromtimestamp(1.5, timezone.utc)
    done = report(ActionPhase.SUCCEEDED, at=4.0)
    assert of_one_call(told([failed, again, done])).started_at == datetime.fromtimestamp(3.0, timezone.utc)


def test_the_root_ends_as_its_run_does() -> None:
    for phase in (ActionPhase.SUCCEEDED, ActionPhase.FAILED, ActionPhase.ABORTED):
        root = ended(phase, 0, action="a0", parent=None)
        assert (root.phase, root.ended_at) == (phase, ENDED)
        assert (root.error is None) == (phase is ActionPhase.SUCCEEDED)


def test_a_child_is_aborted_with_its_run_unless_its_report_may_be_on_its_way() -> None:
    aborted = ended(ActionPhase.ABORTED, 0, action="a0.1", parent="a0")
    assert (aborted.phase, aborted.ended_at) == (ActionPhase.ABORTED, ENDED)
    assert ended(ActionPhase.FAILED, 1, action="a0.1", parent="a0").phase is ActionPhase.RUNNING
    assert ended(ActionPhase.FAILED, 6, action="a0.1", parent="a0").phase is ActionPhase.ABORTED
    assert ended(ActionPhase.RUNNING, 6, action="a0.1", parent="a0").phase is ActionPhase.RUNNING


def test_what_is_counted_of_a_run_has_ended_with_it() -> None:
    run = RunInfo(name="r", task="t", phase=ActionPhase.FAILED, created_at=ENDED, ended_at=ENDED)
    root = Kind(parent=None, group=None, task="t", phase=ActionPhase.RUNNING, cached=False, number=1)
    child, done = (
        root.model_copy(update={"parent": "a0", "phase": phase})
        for phase in (ActionPhase.QUEUED, ActionPhase.SUCCEEDED)
    )

    phases = [kind_as_of(run, kind).phase for kind in (root, child, done)]

    assert phases == [ActionPhase.FAILED, ActionPhase.ABORTED, ActionPhase.SUCCEEDED]
    assert kind_as_of(run.model_copy(update={"phase": ActionPhase.RUNNING}), child) == child
