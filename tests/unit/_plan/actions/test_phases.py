from __future__ import annotations

from datetime import timedelta
from typing import Any

from flyteray._plan.actions.phases import durations, transitions
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo
from tests.unit.builders import NOON


def second(number: float) -> Any:
    return NOON + timedelta(seconds=number)


def action(phase: ActionPhase, attempts: int = 1, **fields: Any) -> ActionInfo:
    told = {"run": "r", "action": "a", "parent": "a0", "task": "env.f", "created_at": NOON, "error": None}
    return ActionInfo(
        **{**told, "started_at": None, "ended_at": None, **fields}, phase=phase, attempts=attempts
    )


def attempt(number: int, phase: ActionPhase, began: float | None, ended: float | None) -> AttemptInfo:
    return AttemptInfo(
        run="r",
        action="a",
        attempt=number,
        phase=phase,
        started_at=None if began is None else second(began),
        ended_at=None if ended is None else second(ended),
    )


def test_each_attempt_waits_from_the_end_of_the_one_before() -> None:
    tries = [attempt(1, ActionPhase.FAILED, 2, 3), attempt(2, ActionPhase.SUCCEEDED, 7, 9)]
    phases = transitions(action(ActionPhase.SUCCEEDED, 2), tries)

    assert [(each.phase.value, each.start_time) for each in phases] == [
        ("queued", NOON),
        ("running", second(2)),
        ("failed", second(3)),
        ("queued", second(3)),
        ("running", second(7)),
        ("succeeded", second(9)),
    ]
    assert transitions(action(ActionPhase.SUCCEEDED, 2), tries, 2) == phases[3:]
    assert durations(phases, second(100)) == {
        ActionPhase.QUEUED: timedelta(seconds=6),
        ActionPhase.RUNNING: timedelta(seconds=3),
    }


def test_what_goes_on_lasts_until_now_and_is_called_as_it_is_at_the_moment() -> None:
    waits = action(ActionPhase.WAITING_FOR_RESOURCES)
    phases = transitions(waits, [attempt(1, ActionPhase.WAITING_FOR_RESOURCES, None, None)])

    assert [(each.phase.value, each.end_time) for each in phases] == [("waiting_for_resources", None)]
    assert durations(phases, second(5)) == {ActionPhase.WAITING_FOR_RESOURCES: timedelta(seconds=5)}


def test_what_was_aborted_before_it_began_never_ran_and_what_was_recovered_never_waited() -> None:
    aborted = transitions(action(ActionPhase.ABORTED), [attempt(1, ActionPhase.ABORTED, None, 4)])
    recovered = transitions(action(ActionPhase.RECOVERED), [attempt(1, ActionPhase.RECOVERED, None, 4)])

    assert [each.phase.value for each in aborted] == ["queued", "aborted"]
    assert [each.phase.value for each in recovered] == ["recovered"]


def test_clocks_that_differ_make_no_time_negative() -> None:
    phases = transitions(action(ActionPhase.RUNNING), [attempt(1, ActionPhase.RUNNING, -1, None)])

    assert durations(phases, second(1)) == {
        ActionPhase.QUEUED: timedelta(0),
        ActionPhase.RUNNING: timedelta(seconds=2),
    }
