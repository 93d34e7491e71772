from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flyteray._plan.info import ActionPhase, RunInfo
from flyteray._plan.runs import RunFilter, TimeFilter, order_of, phases_of
from tests.unit.builders import NOON


def test_a_span_has_its_beginning_and_not_its_end() -> None:
    span = TimeFilter(after=NOON.replace(tzinfo=None), before=NOON + timedelta(seconds=1))

    assert [span.has(NOON + timedelta(seconds=number)) for number in (-1, 0, 1)] == [False, True, False]
    assert (span.has(None), TimeFilter().has(None), TimeFilter().has(NOON)) == (False, True, True)
    assert span.after == NOON
    with pytest.raises(TypeError, match="before must be a datetime, got 'noon'"):
        TimeFilter(before="noon")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, ()),
        ("RUNNING", (ActionPhase.RUNNING,)),
        (ActionPhase.FAILED, (ActionPhase.FAILED,)),
        (["failed", ActionPhase.ABORTED], (ActionPhase.FAILED, ActionPhase.ABORTED)),
    ],
)
def test_phases_are_given_by_themselves_or_by_name(given: Any, meant: tuple[ActionPhase, ...]) -> None:
    assert phases_of(given) == meant


def test_queued_runs_are_all_that_have_not_begun() -> None:
    def phase(found: ActionPhase, *asked: ActionPhase) -> bool:
        run = RunInfo(name="r", task="env.f", phase=found, created_at=datetime.now(timezone.utc))
        return RunFilter(phases=asked).has_phase(run)

    waits = ActionPhase.WAITING_FOR_RESOURCES
    assert RunFilter(phases=(waits, ActionPhase.FAILED)).recorded_phases == {
        ActionPhase.QUEUED,
        ActionPhase.FAILED,
    }
    assert RunFilter(phases=(ActionPhase.PAUSED,)).recorded_phases == {
        ActionPhase.QUEUED,
        ActionPhase.RUNNING,
    }
    assert phase(waits, ActionPhase.QUEUED)
    assert phase(waits, waits)
    assert not phase(waits, ActionPhase.INITIALIZING, ActionPhase.FAILED)
    assert phase(waits)


def test_labels_are_told_apart_by_case_and_keys_may_say_anything() -> None:
    labels = {"team": "a", "Tier": "1"}

    assert RunFilter(labels={"team": "a"}, label_keys=("Tier",)).has_labels(labels)
    assert not RunFilter(labels={"team": "A"}).has_labels(labels)
    assert not RunFilter(label_keys=("tier",)).has_labels(labels)


@pytest.mark.parametrize("wrong", [("colour", "asc"), ("name", "up"), "name", ("name",)])
def test_another_order_is_refused(wrong: Any) -> None:
    assert order_of(("name", "asc")) == ("name", False)
    with pytest.raises(ValueError, match="sort_by"):
        order_of(wrong)
