"""Canaries are judged on simulated traffic whose truth is known."""

from __future__ import annotations

import math
import random

import pytest

from flyteray._plan.traffic.figures import BOUNDS_US, Figures, place
from flyteray._plan.traffic.judgement import Evidence

ALARMS = 0.01
EVERY_S = 2


def figures(rng: random.Random, requests: int, errors: float, median_s: float, spread: float) -> Figures:
    latencies = [0] * (len(BOUNDS_US) + 1)
    for _ in range(requests):
        latencies[place(round(1e6 * median_s * math.exp(rng.gauss(0, spread))))] += 1
    failed = sum(rng.random() < errors for _ in range(requests))
    return Figures(requests=requests, errors=failed, latencies=tuple(latencies))


def judged(
    rng: random.Random,
    seconds: int,
    errors: tuple[float, float] = (0.0, 0.0),
    slower: float = 1.0,
    spread: float = 0.3,
    rate: int = 100,
    share: float = 0.1,
) -> tuple[int, str] | None:
    """After how many seconds a canary was found to be worse, and in which way."""
    known = Evidence()
    for second in range(0, seconds, EVERY_S):
        canary = sum(rng.random() < share for _ in range(rate * EVERY_S))
        median = 0.05 * math.exp(rng.gauss(0, 0.3))  # what slows both versions together
        serving = figures(rng, rate * EVERY_S - canary, errors[0], median, spread)
        known = known.after(serving, figures(rng, canary, errors[1], median * slower, spread), 1.1)
        if (reason := known.is_worse(ALARMS)) is not None:
            return second + EVERY_S, reason
    return None


def test_of_two_hundred_good_canaries_next_to_none_is_taken_back() -> None:
    rng = random.Random(11)
    cases = [(rate, spread) for rate in (0.0, 0.001, 0.02, 0.2) for spread in (0.05, 0.3, 0.6, 1.0, 1.5)]
    verdicts = [
        judged(rng, 60, (rate, rate), 1.0, spread, rate=60) for rate, spread in cases for _ in range(10)
    ]

    assert len(verdicts) == 200
    assert sum(verdict is not None for verdict in verdicts) <= 4


@pytest.mark.parametrize("before", [0.0, 0.01])
def test_a_canary_that_fails_more_is_found_within_a_minute(before: float) -> None:
    for seed in range(10):
        found = judged(random.Random(seed), 60, (before, before + 0.05))
        assert found is not None
        assert "of its requests failed" in found[1]


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_a_canary_that_is_a_third_slower_is_found_within_a_minute(spread: float) -> None:
    for seed in range(10):
        found = judged(random.Random(seed), 60, slower=1.3, spread=spread)
        assert found is not None
        assert found[1].startswith("its p")


def test_a_canary_that_fails_less_or_is_faster_is_no_worse() -> None:
    assert judged(random.Random(1), 120, (0.05, 0.0), slower=0.7) is None


def test_a_canary_may_be_slower_by_what_was_allowed_or_by_nothing_that_counts() -> None:
    assert judged(random.Random(2), 120, slower=1.08, spread=0.05) is None
    rng, known = random.Random(3), Evidence()
    for _ in range(60):
        known = known.after(figures(rng, 100, 0, 0.001, 0.1), figures(rng, 100, 0, 0.002, 0.1), 1.1)
    assert known.is_worse(ALARMS) is None


def test_without_requests_of_both_nothing_is_known() -> None:
    rng = random.Random(4)
    only = Figures(), figures(rng, 500, 1.0, 9.0, 0.1)
    known = Evidence().after(*only, 1.1).after(*reversed(only), 1.1)

    assert known.errors == Evidence().errors
    assert (known.serving.requests, known.canary.requests) == (500, 500)
    assert Evidence.model_validate_json(known.model_dump_json()) == known
