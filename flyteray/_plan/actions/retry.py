"""A failed action is tried again, or not, after a delay."""

from __future__ import annotations

from flyteray import errors
from flyteray._declare.tasks.retry import RetryStrategy
from flyteray._plan.spec import RetrySpec

FINAL = (  # of what is raised: trying again is pointless
    errors.ActionAbortedError,
    errors.DeadlineExceededError,
    errors.ImageBuildError,
    errors.NonRecoverableError,
    errors.PlacementError,
    errors.ResultSerializationError,
)
_BASE_S, _FACTOR, _CAP_S = 0.5, 2.0, 30.0  # the pauses of who has asked for none, as in Flyte
_INTERRUPTIONS = 3  # a worker or node that dies is nobody's fault: as often as Ray itself would try
_PAUSE = RetrySpec(base_s=0.5, factor=2.0, cap_s=10.0)  # before what was interrupted begins again


def retry_spec(retries: RetryStrategy) -> RetrySpec:
    """Retries as a plan."""
    backoff = retries.backoff
    if backoff is None:
        return RetrySpec(count=retries.count, base_s=_BASE_S, factor=_FACTOR, cap_s=_CAP_S)
    return RetrySpec(
        count=retries.count,
        base_s=backoff.base.total_seconds(),
        factor=backoff.factor,
        cap_s=backoff.cap.total_seconds() if backoff.cap is not None else None,
    )


class Retries:
    """The failures of one action so far. An attempt that was interrupted by the end of its worker or node costs none.

    ``attempt`` is the number, from 0, of the one that runs.
    """

    def __init__(self, retry: RetrySpec, attempt: int = 0) -> None:
        self.attempt = attempt
        self._retry = retry
        self._failed = 0
        self._interrupted = 0

    def after(self, error: BaseException) -> float | None:
        """Seconds until the next attempt, whose number is ``attempt`` then; None when ``error`` is final."""
        if isinstance(error, FINAL):
            return None
        if isinstance(error, errors.TaskInterruptedError) and self._interrupted < _INTERRUPTIONS:
            delay = _PAUSE.delay_s(self._interrupted)
            self._interrupted += 1
        elif self._failed < self._retry.count:
            delay = self._retry.delay_s(self._failed)
            self._failed += 1
        else:
            return None
        self.attempt += 1
        return delay
