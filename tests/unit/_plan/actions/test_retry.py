from __future__ import annotations

import pytest

from flyteray._plan.actions.retry import Retries
from flyteray._plan.spec import RetrySpec
from flyteray.errors import (
    ActionAbortedError,
    NonRecoverableError,
    PlacementError,
    RuntimeUserError,
    TaskInterruptedError,
)

FAILED = RuntimeUserError("E", "failed")
INTERRUPTED = TaskInterruptedError("TaskInterruptedError", "died")


def test_a_failure_is_tried_again_as_often_as_asked() -> None:
    retry = RetrySpec(count=2, base_s=1.0, factor=3.0, cap_s=2.0)

    assert _pauses(retry, FAILED, FAILED, FAILED) == [1.0, 2.0, None]
    assert _pauses(RetrySpec(), FAILED) == [None]


def test_a_pause_never_grows_beyond_its_cap() -> None:
    assert RetrySpec(count=9999, base_s=1.0, factor=2.0, cap_s=60.0).delay_s(5000) == 60.0


def test_an_interruption_is_tried_again_unasked() -> None:
    assert _pauses(RetrySpec(), *[INTERRUPTED] * 4) == [0.5, 1.0, 2.0, None]


def test_an_interruption_costs_no_attempt_of_those_asked_for_until_there_are_too_many() -> None:
    retry = RetrySpec(count=2, base_s=7.0)

    assert _pauses(retry, INTERRUPTED, FAILED, INTERRUPTED, FAILED, FAILED) == [0.5, 7.0, 1.0, 7.0, None]
    assert _pauses(retry, *[INTERRUPTED] * 6) == [0.5, 1.0, 2.0, 7.0, 7.0, None]


def test_the_number_of_the_attempt_goes_on_from_those_that_have_begun() -> None:
    retries = Retries(RetrySpec(count=2), attempt=4)
    retries.after(INTERRUPTED)
    retries.after(FAILED)

    assert retries.attempt == 6


@pytest.mark.parametrize(
    "final", [NonRecoverableError("no"), ActionAbortedError("enough"), PlacementError("nowhere")]
)
def test_what_is_final_is_not_tried_again(final: RuntimeUserError) -> None:
    assert _pauses(RetrySpec(count=9), final) == [None]


def _pauses(retry: RetrySpec, *errors: RuntimeUserError) -> list[float | None]:
    retries = Retries(retry)
    return [retries.after(error) for error in errors]
