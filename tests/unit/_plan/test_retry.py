from __future__ import annotations

import pytest

from flyteray._plan.retry import retry_delay
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

    assert [retry_delay(FAILED, retry, attempt) for attempt in range(3)] == [1.0, 2.0, None]
    assert retry_delay(FAILED, RetrySpec(), 0) is None


def test_a_pause_never_grows_beyond_its_cap() -> None:
    assert retry_delay(FAILED, RetrySpec(count=9999, base_s=1.0, factor=2.0, cap_s=60.0), 5000) == 60.0


def test_an_interruption_is_tried_again_unasked() -> None:
    assert [retry_delay(INTERRUPTED, RetrySpec(), attempt) for attempt in range(4)] == [0.0, 0.0, 0.0, None]


@pytest.mark.parametrize(
    "final", [NonRecoverableError("no"), ActionAbortedError("enough"), PlacementError("nowhere")]
)
def test_what_is_final_is_not_tried_again(final: RuntimeUserError) -> None:
    assert retry_delay(final, RetrySpec(count=9), 0) is None
