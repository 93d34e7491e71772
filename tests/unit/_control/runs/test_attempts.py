from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from flyteray._control.runs.attempts import after_attempt, is_kept
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, AttemptInfo

PHASES = st.sampled_from([ActionPhase.QUEUED, ActionPhase.RUNNING, ActionPhase.FAILED])


def report(phase: ActionPhase, at: float, attempt: int = 1, began: float | None = None) -> ActionEvent:
    return ActionEvent(
        run="r", action="a0", parent=None, task="t", phase=phase, attempt=attempt, at=at, began=began
    )


def told(*events: ActionEvent) -> AttemptInfo:
    known: AttemptInfo | None = None
    for event in events:
        known = after_attempt(known, event, None)
    assert known is not None
    return known


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def test_only_what_the_action_does_not_tell_is_kept() -> None:
    assert not is_kept(report(ActionPhase.RUNNING, 1, attempt=0))
    assert not is_kept(report(ActionPhase.SUCCEEDED, 1, attempt=0))
    assert is_kept(report(ActionPhase.TIMED_OUT, 1, attempt=0))
    assert is_kept(report(ActionPhase.RUNNING, 1, attempt=1))


@given(
    order=st.permutations([(ActionPhase.QUEUED, 1.0), (ActionPhase.RUNNING, 2.0), (ActionPhase.FAILED, 3.0)])
)
def test_an_attempt_is_the_same_in_whatever_order_it_is_reported(
    order: list[tuple[ActionPhase, float]],
) -> None:
    attempt = told(*(report(phase, at) for phase, at in order))

    assert attempt.attempt == 2
    assert (attempt.phase, attempt.started_at, attempt.ended_at) == (ActionPhase.FAILED, at(2), at(3))


def test_the_first_end_counts() -> None:
    ends = report(ActionPhase.TIMED_OUT, 2), report(ActionPhase.FAILED, 3)

    assert told(*ends).phase is ActionPhase.TIMED_OUT


def test_a_worker_that_died_is_known_to_have_begun_by_its_action() -> None:
    action = ActionInfo(
        run="r",
        action="a0",
        parent=None,
        task="t",
        phase=ActionPhase.RUNNING,
        attempts=1,
        started_at=at(5),
        ended_at=None,
        error=None,
    )
    attempt = after_attempt(None, report(ActionPhase.FAILED, 9, attempt=0), action)

    assert (attempt.started_at, attempt.ended_at) == (at(5), at(9))
