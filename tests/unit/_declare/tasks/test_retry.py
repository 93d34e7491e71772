from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from flyteray import Backoff, RetryStrategy

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("count", [-1, "a", 1.5, None, True])
def test_a_bad_count_is_refused(count: Any) -> None:
    with pytest.raises(ValueError, match="count"):
        RetryStrategy(count)


def test_a_backoff_must_be_one() -> None:
    with pytest.raises(ValueError, match="Backoff"):
        RetryStrategy(1, backoff=SECOND)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": -SECOND},
        {"base": 1},
        {"base": SECOND, "factor": 0.5},
        {"base": SECOND, "factor": math.inf},
        {"base": SECOND, "factor": math.nan},
        {"base": SECOND, "factor": "2"},
        {"base": SECOND, "factor": 2},
        {"base": SECOND, "factor": 2, "cap": -SECOND},
    ],
)
def test_a_bad_backoff_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(**wrong)


def test_pauses_grow_up_to_the_cap() -> None:
    backoff = Backoff(SECOND, factor=2, cap=5 * SECOND)

    assert [backoff.compute_delay(attempt) / SECOND for attempt in range(4)] == [1, 2, 4, 5]


def test_a_pause_beyond_all_numbers_is_the_cap() -> None:
    assert Backoff(SECOND, factor=10, cap=SECOND * 60).compute_delay(5000) == SECOND * 60


def test_attempts_are_counted_from_zero() -> None:
    with pytest.raises(ValueError, match="-1"):
        Backoff(SECOND).compute_delay(-1)
