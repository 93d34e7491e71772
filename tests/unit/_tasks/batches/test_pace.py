"""How many calls of a task travel together follows from how long the latest ones took."""

from __future__ import annotations

import pytest

from flyteray._tasks.batches.pace import PROBES, SPAN_S, Pace


def pace(*seconds: float, nbytes: int = 0) -> Pace:
    made = Pace()
    for each in seconds:
        made.note(each, nbytes, now=0.0)
    return made


def test_nothing_is_known_before_some_were_told() -> None:
    assert Pace().together(0.0) is None
    assert pace(*[0.001] * (PROBES - 1)).together(0.0) is None


@pytest.mark.parametrize(
    ("seconds", "together"), [(0.0, 64), (0.0001, 64), (0.001, 10), (0.004, 2), (0.006, 1), (1.0, 1)]
)
def test_those_travel_together_that_take_ten_milliseconds_together(seconds: float, together: int) -> None:
    assert pace(*[seconds] * PROBES).together(0.0) == together
    assert together == 1 or together * seconds <= SPAN_S


def test_one_that_takes_long_sends_the_others_alone() -> None:
    assert pace(*[0.0001] * 15, 1.0).together(0.0) == 1


def test_what_was_long_ago_counts_no_more() -> None:
    made = pace(1.0, *[0.0001] * 16)
    assert made.together(0.0) == 64


def test_large_outputs_count_as_time() -> None:
    assert pace(*[0.0001] * PROBES, nbytes=1_000_000).together(0.0) == 1


def test_what_nobody_has_told_for_a_minute_is_asked_anew() -> None:
    made = pace(*[1.0] * PROBES)
    assert made.together(59.0) == 1
    assert made.together(61.0) is None
    assert made.together(61.0) is None
