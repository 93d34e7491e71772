"""A failed action is tried again, or not, after a delay."""

from __future__ import annotations

from flyteray import errors
from flyteray._declare.tasks.retry import RetryStrategy
from flyteray._plan.spec import RetrySpec

FINAL = (  # of what is raised: trying again is pointless
    errors.ActionAbortedError,
    errors.ImageBuildError,
    errors.NonRecoverableError,
    errors.PlacementError,
    errors.ResultSerializationError,
)
_INTERRUPTION_RETRIES = 3  # a worker or node that dies is nobody's fault: as often as Ray itself would try


def retry_spec(retries: RetryStrategy) -> RetrySpec:
    """Retries as a plan."""
    backoff = retries.backoff
    if backoff is None:
        return RetrySpec(count=retries.count)
    return RetrySpec(
        count=retries.count,
        base_s=backoff.base.total_seconds(),
        factor=backoff.factor,
        cap_s=backoff.cap.total_seconds() if backoff.cap is not None else None,
    )


def retry_delay(error: BaseException, retry: RetrySpec, attempt: int) -> float | None:
    """Seconds until the attempt after ``attempt`` (from 0), or None when ``error`` is final."""
    if isinstance(error, FINAL):
        return None
    interrupted = isinstance(error, errors.TaskInterruptedError)
    allowed = max(retry.count, _INTERRUPTION_RETRIES) if interrupted else retry.count
    return retry.delay_s(attempt) if attempt < allowed else None
