from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import flyteray as flyte
from flyteray._plan.actions.limits import Limits, limits_of, timeout_spec
from flyteray._plan.spec import TimeoutSpec
from flyteray.errors import DeadlineExceededError, MaxQueuedTimeExceededError, MaxRuntimeExceededError


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (0, TimeoutSpec()),
        (60, TimeoutSpec(max_runtime_s=60)),
        (timedelta(minutes=1), TimeoutSpec(max_runtime_s=60)),
        (flyte.Timeout(), TimeoutSpec()),
        (
            flyte.Timeout(max_runtime=1, max_queued_time=timedelta(seconds=2), deadline=3),
            TimeoutSpec(max_runtime_s=1, max_queued_s=2, deadline_s=3),
        ),
    ],
)
def test_a_time_alone_is_that_of_one_attempt_and_zero_is_no_limit(asked: Any, meant: TimeoutSpec) -> None:
    assert timeout_spec(asked) == meant


def test_what_has_no_limits_never_expires() -> None:
    limits = limits_of(TimeoutSpec(), since=0)

    assert not any(limits)
    assert limits.of_running("t", began=5) is None
    assert limits.of_waiting("t", None, submitted=5) is None
    assert limits.checked_pause("t", 1000, now=5, error=ValueError()) == 1000


def test_an_attempt_may_run_from_its_start() -> None:
    expiry = limits_of(TimeoutSpec(max_runtime_s=2), since=0).of_running("env.t", began=100)

    assert expiry is not None
    assert expiry.at == 102
    assert type(expiry.error) is MaxRuntimeExceededError
    assert "'env.t' ran for longer than its max_runtime of 2 seconds" in str(expiry.error)


def test_an_attempt_may_wait_from_its_submission() -> None:
    timeout = TimeoutSpec(max_queued_s=1)
    expiry = limits_of(timeout, since=0).of_waiting("t", timeout.max_queued_s, submitted=100)

    assert expiry is not None
    assert (expiry.at, type(expiry.error)) == (101, MaxQueuedTimeExceededError)
    assert "max_queued_time of 1 second." in str(expiry.error)


@pytest.mark.parametrize(("began", "kind"), [(0, MaxRuntimeExceededError), (9, DeadlineExceededError)])
def test_the_limit_that_is_reached_first_counts(began: float, kind: type) -> None:
    expiry = limits_of(TimeoutSpec(max_runtime_s=5, deadline_s=10), since=0).of_running("t", began)

    assert expiry is not None
    assert type(expiry.error) is kind


def test_a_deadline_is_for_waiting_too() -> None:
    limits = limits_of(TimeoutSpec(deadline_s=10), since=100)
    expiry = limits.of_waiting("t", None, submitted=105)

    assert expiry is not None
    assert (expiry.at, type(expiry.error)) == (110, DeadlineExceededError)


def test_no_attempt_follows_that_would_begin_after_the_deadline() -> None:
    limits, error = limits_of(TimeoutSpec(deadline_s=10), since=100), ValueError("x")

    assert limits.checked_pause("t", 2, now=107, error=error) == 2
    with pytest.raises(DeadlineExceededError, match="over all of its attempts") as caught:
        limits.checked_pause("t", 2, now=108, error=error)
    assert caught.value.__cause__ is error


def test_limits_travel_as_a_tuple() -> None:
    limits = limits_of(TimeoutSpec(max_runtime_s=5, deadline_s=10), since=3)

    assert Limits(*tuple(limits)) == limits
    assert limits.ends_at == 13
