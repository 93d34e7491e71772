from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from flyteray import Cron
from flyteray.app import Scaling, Signals


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(0, (0, 0)), (3, (3, 3)), ((0, 1), (0, 1)), ((2, 5), (2, 5))],
    ids=["none", "fixed", "from zero", "range"],
)
def test_replicas_are_a_number_or_a_range(replicas: Any, expected: tuple[int, int]) -> None:
    assert Scaling(replicas).get_replicas() == expected


def test_without_words_an_app_may_scale_from_zero_to_one() -> None:
    assert Scaling().get_replicas() == (0, 1)


@pytest.mark.parametrize("replicas", [-1, (-1, 1), (0, 0), (2, 1), (1,), (1, 2, 3)], ids=str)
def test_impossible_numbers_are_refused(replicas: Any) -> None:
    with pytest.raises(ValueError, match="replicas"):
        Scaling(replicas)


@pytest.mark.parametrize("replicas", [[1, 2], "1", None, 1.5, True, (1, 2.0), (False, 1)], ids=str)
def test_other_types_are_refused(replicas: Any) -> None:
    with pytest.raises(TypeError, match="replicas"):
        Scaling(replicas)


def test_the_number_follows_ten_requests_at_a_time_unless_something_is_said() -> None:
    assert Scaling((1, 3)).share() == Scaling.Concurrency(10)
    assert Scaling((1, 3)).scaledown_after_s() == 60
    assert (Scaling((1, 3)).sleeps_after_s(), Scaling().sleeps_after_s()) == (None, 300)
    assert (
        Scaling((0, 3), scaledown_after=7).sleeps_after_s()
        == Scaling(0, scaledown_after=7).sleeps_after_s()
        == 7
    )
    assert Scaling((1, 3), Scaling.RequestRate(2.5)).share() == Scaling.RequestRate(2.5)


@pytest.mark.parametrize("after", [90, timedelta(seconds=90)], ids=str)
def test_the_time_to_wait_is_seconds_or_a_timedelta(after: Any) -> None:
    assert Scaling(scaledown_after=after).scaledown_after == timedelta(seconds=90)
    assert Scaling(scaledown_after=after).scaledown_after_s() == 90


@pytest.mark.parametrize("kind", [Scaling.Concurrency, Scaling.RequestRate])
def test_a_share_is_a_number_of_at_least_one(kind: Any) -> None:
    assert kind(1.5).val == 1.5
    for wrong in (0, 0.5, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="at least 1"):
            kind(wrong)
    for no_number in ("1", None, True):
        with pytest.raises(TypeError, match="must be given a number"):
            kind(no_number)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"metric": 5}, TypeError, "metric must be"),
        ({"metric": Scaling.Concurrency}, TypeError, "metric must be"),
        ({"scaledown_after": 1.5}, TypeError, "scaledown_after must be"),
        ({"scaledown_after": True}, TypeError, "scaledown_after must be"),
        ({"scaledown_after": -1}, ValueError, "not be negative"),
        ({"scaledown_after": timedelta(seconds=-1)}, ValueError, "not be negative"),
        ({"spare": 1.0}, TypeError, "spare must be an int, got 1.0"),
        ({"spare": True}, TypeError, "spare must be an int, got True"),
        ({"spare": -1}, ValueError, "spare must be from 0 to 8, got -1"),
        ({"spare": 9}, ValueError, "spare must be from 0 to 8, got 9"),
    ],
    ids=str,
)
def test_what_the_number_cannot_follow_is_refused(fields: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Scaling((1, 3), **fields)


def test_times_with_bounds_of_their_own() -> None:
    work = Scaling.During(Cron("0 8 * * 1-5"), timedelta(hours=10), 3)
    scaling = Scaling((1, 2), schedule=[work])

    assert (work.replicas, scaling.schedule, scaling.widest()) == ((3, 3), (work,), (1, 3))
    assert Scaling(schedule=work).widest() == (0, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Scaling.During("0 8 * * *", timedelta(1), 1), TypeError, "begins must be a Cron"),  # type: ignore[arg-type]
        (lambda: Scaling.During(Cron("@daily"), 60, 1), TypeError, "lasts must be a timedelta"),  # type: ignore[arg-type]
        (lambda: Scaling.During(Cron("@daily"), timedelta(), 1), ValueError, "more than no time"),
        (lambda: Scaling.During(Cron("@daily"), timedelta(1), (2, 1)), ValueError, "max_replicas"),
        (lambda: Scaling(schedule=[3]), TypeError, "schedule must be a list of"),  # type: ignore[list-item]
    ],
    ids=map(str, range(5)),
)
def test_times_that_are_none_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def by_open(signals: Signals) -> int:
    return math.ceil(signals.open / 5)


async def by_await(signals: Signals) -> int:
    return 1


def test_a_policy_is_a_function_of_signals() -> None:
    scaling = Scaling(replicas=(1, 8), policy=by_open)

    assert scaling.policy is by_open
    assert by_open(Signals(replicas=1, ready=1, open=11)) == 3
    assert Scaling(replicas=(1, 8), policy=lambda signals, more=1: more).policy is not None


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"policy": "fast"}, TypeError, "policy must be a function of Signals, got 'fast'"),
        ({"policy": lambda: 1}, TypeError, "policy is called with Signals alone"),
        ({"policy": lambda signals, more: 1}, TypeError, "policy is called with Signals alone"),
        ({"policy": by_await}, TypeError, "policy must not be async"),
        ({"policy": by_open, "metric": Scaling.Concurrency(2)}, ValueError, "leave out the metric"),
        ({"policy": by_open, "replicas": 3}, ValueError, r"nothing to choose from, as replicas is \(3, 3\)"),
    ],
)
def test_a_bad_policy_is_refused(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Scaling(**{"replicas": (1, 8), **wrong})
