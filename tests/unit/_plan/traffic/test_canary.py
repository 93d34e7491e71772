from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flyteray._plan.traffic.canary import CanaryRecord, CanarySpec
from flyteray._plan.traffic.figures import NONE_YET, Figures
from flyteray.app import Canary
from tests.unit.builders import NOON

SOME = Figures(requests=20, latencies=(*NONE_YET[:-1], 0))
BAD = Figures(requests=40, errors=40)


def begun(**fields: Any) -> CanaryRecord:
    return CanaryRecord(spec=CanarySpec.of(Canary(steps=(5, 50), every=60, **fields)))


def at(seconds: float) -> Any:
    return NOON + timedelta(seconds=seconds)


def test_a_canary_goes_on_when_a_step_has_lasted_and_is_promoted_after_the_last() -> None:
    first = begun().after(5, SOME, SOME, at(0))
    assert (first.step, first.since) == (0, at(0))
    assert first.after(5, SOME, SOME, at(59)).step == 0
    second = first.after(5, SOME, SOME, at(60))
    assert (second.step, second.since, second.outcome) == (1, None, "running")
    waiting = second.after(5, SOME, SOME, at(62))  # the ingress does not go by it yet
    assert waiting == second
    counted = second.after(50, SOME, SOME, at(65))
    assert counted.after(50, SOME, SOME, at(124)).outcome == "running"
    assert counted.after(50, SOME, SOME, at(125)).outcome == "promoted"


def test_a_step_lasts_until_there_were_requests() -> None:
    first = begun().after(5, SOME, Figures(requests=19), at(0))
    later = first.after(5, SOME, Figures(), at(1000))
    assert later.step == 0
    assert later.after(5, SOME, Figures(requests=1), at(1001)).step == 1


def test_a_canary_that_is_worse_is_taken_back_with_the_reason() -> None:
    taken = begun().after(5, Figures(requests=400), BAD, at(0))
    assert taken.outcome == "taken back"
    assert taken.reason == "100.0% of its requests failed, 0.0% of the others"
    assert CanaryRecord.model_validate_json(taken.model_dump_json()) == taken


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"steps": ()}, "must rise"),
        ({"steps": (50, 10)}, "must rise"),
        ({"steps": (0, 10)}, "must rise"),
        ({"steps": (10, 100)}, "must rise"),
        ({"steps": (10, 120)}, "0 to 100 percent, got 120"),
        ({"steps": (2.5,)}, "whole number of percent, got 2.5"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"every": "60"}, "every must be a number, got '60'"),
        ({"every": float("inf")}, "every must be at least 1"),
        ({"false_alarms": 0}, "false_alarms must be from"),
        ({"slower": 0.5}, "slower must be from 1 to 100"),
        ({"sticky": "a b"}, "sticky must be"),
    ],
    ids=str,
)
def test_canaries_that_make_no_sense_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        Canary(**fields)


def test_a_canary_takes_one_step_and_times_of_any_kind() -> None:
    assert CanarySpec.of(Canary(steps=5, every=timedelta(minutes=2))).model_dump() == {  # type: ignore[arg-type]
        "steps": (5,),
        "every_s": 120.0,
        "false_alarms": 0.01,
        "slower": 1.1,
        "sticks": None,
    }
