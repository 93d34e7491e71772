"""A timeout says how long a task may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias


@dataclass(frozen=True)
class Timeout:
    """The time that a task may take, in seconds or as timedeltas; None and 0 set no limit.

    No limit is kept for now: a warning tells so where one is set.

    Args:
        max_runtime: One attempt, from its start.
        max_queued_time: The wait of one attempt for its start.
        deadline: All attempts together with the waits.

    Raises:
        ValueError: A negative time, or something else.
    """

    max_runtime: timedelta | int | None = None
    max_queued_time: timedelta | int | None = None
    deadline: timedelta | int | None = None

    def __post_init__(self) -> None:
        for name in ("max_runtime", "max_queued_time", "deadline"):
            _check(f"Timeout {name}", getattr(self, name))

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return any((self.max_runtime, self.max_queued_time, self.deadline))


TimeoutType: TypeAlias = Timeout | int | timedelta
"""Values of ``timeout=``; a time alone is ``max_runtime``."""


def timeout_of(request: TimeoutType | None) -> Timeout:
    """The :class:`Timeout` that ``timeout=`` means; ValueError for anything but times from 0."""
    if isinstance(request, Timeout):
        return request
    _check("timeout", request)
    return Timeout(max_runtime=request)


def _check(what: str, time: object) -> None:
    if isinstance(time, bool) or not isinstance(time, (int, timedelta, type(None))):
        raise ValueError(f"{what} must be an int of seconds, a timedelta or a Timeout, got {time!r}.")
    if time is not None and (time if isinstance(time, int) else time.total_seconds()) < 0:
        raise ValueError(f"{what} must not be negative, got {time!r}.")
