"""The limits of an action: when an attempt, its wait or all attempts have taken too long, and which error says so."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from flyteray._declare.options.timeout import TimeoutType, timeout_of
from flyteray._plan.spec import TimeoutSpec
from flyteray.errors import (
    DeadlineExceededError,
    MaxQueuedTimeExceededError,
    MaxRuntimeExceededError,
    TaskTimeoutError,
)


class Expiry(NamedTuple):
    """The moment at which something has taken too long, in seconds since the epoch, and the error for it."""

    at: float
    error: TaskTimeoutError


class Limits(NamedTuple):
    """The limits of one attempt as they travel with its call; ``ends_at`` is the deadline, in seconds since the epoch.

    With ``awaited`` somebody may give the attempt up unless its start is known at once.
    """

    max_runtime_s: float | None = None
    deadline_s: float | None = None
    ends_at: float | None = None
    awaited: bool = False

    def of_running(self, task: str, began: float) -> Expiry | None:
        """When an attempt of a task that ``began`` then has run for too long; None without a limit."""
        found = self._deadline(task)
        if self.max_runtime_s is not None:
            error = MaxRuntimeExceededError(
                f"Task {task!r} ran for longer than its max_runtime of {_words(self.max_runtime_s)}. Raise it in "
                "timeout=, or make it quicker."
            )
            found.append(Expiry(began + self.max_runtime_s, error))
        return _first(found)

    def of_waiting(self, task: str, max_queued_s: float | None, submitted: float) -> Expiry | None:
        """When an attempt that was ``submitted`` then has waited for its start for too long; None without a limit."""
        found = self._deadline(task)
        if max_queued_s is not None:
            error = MaxQueuedTimeExceededError(
                f"Task {task!r} had not begun after its max_queued_time of {_words(max_queued_s)}. Raise it in "
                "timeout=, ask for less, or give the cluster more room."
            )
            found.append(Expiry(submitted + max_queued_s, error))
        return _first(found)

    def checked_pause(self, task: str, pause: float, now: float, error: BaseException) -> float:
        """The pause after an attempt that raised ``error``; DeadlineExceededError where the time is up before it is."""
        for expiry in self._deadline(task):
            if now + pause >= expiry.at:
                raise expiry.error from error
        return pause

    def _deadline(self, task: str) -> list[Expiry]:
        if self.ends_at is None or self.deadline_s is None:
            return []
        error = DeadlineExceededError(
            f"Task {task!r} was not done within its deadline of {_words(self.deadline_s)}, over all of its attempts. "
            "Raise the deadline in timeout=, or give it fewer retries."
        )
        return [Expiry(self.ends_at, error)]


def limits_of(timeout: TimeoutSpec, since: float) -> Limits:
    """The limits of all attempts of an action that was asked for then."""
    ends_at = None if timeout.deadline_s is None else since + timeout.deadline_s
    awaited = timeout.max_queued_s is not None or ends_at is not None
    return Limits(timeout.max_runtime_s, timeout.deadline_s, ends_at, awaited)


def timeout_spec(request: TimeoutType) -> TimeoutSpec:
    """A timeout as a plan; 0 is no limit."""
    timeout = timeout_of(request)
    return TimeoutSpec(
        max_runtime_s=_seconds(timeout.max_runtime),
        max_queued_s=_seconds(timeout.max_queued_time),
        deadline_s=_seconds(timeout.deadline),
    )


def _seconds(time: timedelta | int | None) -> float | None:
    return (time.total_seconds() if isinstance(time, timedelta) else float(time)) if time else None


def _words(seconds: float) -> str:
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _first(found: list[Expiry]) -> Expiry | None:
    return min(found, default=None, key=lambda expiry: expiry.at)
