from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from flyteray._plan.traffic.figures import BOUNDS_US, NONE_YET, Figures, place


def of(latencies_us: Sequence[int], **fields: int) -> Figures:
    counts = list(NONE_YET)
    for latency in latencies_us:
        counts[place(latency)] += 1
    return Figures(requests=len(latencies_us), waited_us=sum(latencies_us), latencies=tuple(counts), **fields)


def test_bounds_lie_from_a_millisecond_to_a_hundred_seconds_in_equal_ratios() -> None:
    assert (BOUNDS_US[0], BOUNDS_US[-1]) == (1_000, 100_000_000)
    ratios = [above / below for below, above in itertools.pairwise(BOUNDS_US)]
    assert min(ratios) == pytest.approx(max(ratios), rel=1e-3)


@pytest.mark.parametrize(
    ("latency_us", "number"),
    [(0, 0), (1_000, 0), (1_001, 1), (100_000_000, 100), (100_000_001, 101), (10**12, 101)],
)
def test_a_latency_is_counted_with_those_up_to_its_bound(latency_us: int, number: int) -> None:
    assert place(latency_us) == number


def test_what_came_since_and_what_was_before_are_the_whole() -> None:
    before = Figures(5, 1, 2, (0, 3, 0, 1, 1), 50, (5, *NONE_YET[1:]))
    whole = Figures(9, 1, 3, (1, 5, 0, 1, 2), 90, (7, 2, *NONE_YET[2:]))

    assert whole - before == Figures(4, 0, 1, (1, 2, 0, 0, 1), 40, (2, 2, *NONE_YET[2:]))
    assert before + (whole - before) == whole
    assert before - before == Figures()


def test_quantiles_are_near_those_of_the_latencies_themselves() -> None:
    chance = random.Random(11)
    latencies = sorted(int(1e6 * chance.lognormvariate(-3, 1)) for _ in range(20_000))
    figures = of(latencies)

    for share in (0.01, 0.5, 0.95, 0.99):
        exact = latencies[int(share * len(latencies))] / 1e6
        assert figures.quantile(share) == pytest.approx(exact, rel=0.03)


def test_the_quantiles_of_one_latency_lie_within_its_bounds() -> None:
    for share in (0.0, 0.5, 1.0):
        found = of([1_050]).quantile(share)
        assert found is not None
        assert BOUNDS_US[0] <= found * 1e6 <= BOUNDS_US[1]


def test_what_took_longer_than_all_bounds_counts_as_the_last_one() -> None:
    assert of([200_000_000] * 3).quantile(0.5) == 100.0


def test_of_nothing_there_is_no_quantile() -> None:
    assert Figures(requests=3, aborted=3).quantile(0.5) is None


def test_a_quantile_of_a_percentage_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1, not 95"):
        Figures().quantile(95)


def test_who_left_is_no_part_of_the_error_rate() -> None:
    assert Figures(requests=12, errors=1, aborted=2).error_rate == 0.1
    assert Figures(requests=2, aborted=2).error_rate == 0.0


def test_answers_within_bounds_are_counted_from_the_least() -> None:
    assert of([500, 900, 1_050, 50_000_000, 200_000_000]).within(
        [BOUNDS_US[0], BOUNDS_US[1], BOUNDS_US[-1]]
    ) == [
        2,
        3,
        4,
    ]
