"""A timeout says how long a task may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias


@dataclass(frozen=True)
class Timeout:
    """The time that a task may take, in seconds or as timedeltas; None and 0 set no limit.

    An attempt that takes too long is interrupted: a coroutine gets :class:`asyncio.CancelledError`, other code
    KeyboardInterrupt. Two seconds later its process is killed, with the processes that it has started. The attempt is
    in phase ``timed_out`` then, and is tried again as ``retries=`` says; after the deadline it is not. In local mode
    code that sits in C is not ended: it is waited for.

    Args:
        max_runtime: One attempt, from its start. Too long: :class:`MaxRuntimeExceededError`.
        max_queued_time: The wait of one attempt for its start. Too long: :class:`MaxQueuedTimeExceededError`.
        deadline: All attempts together with the waits. Too long: :class:`DeadlineExceededError`.

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
    _check("timeout", request, ", a timedelta or a Timeout")
    return Timeout(max_runtime=request)


def _check(what: str, time: object, others: str = " or a timedelta") -> None:
    if isinstance(time, bool) or not isinstance(time, (int, timedelta, type(None))):
        raise ValueError(f"{what} must be an int of seconds{others}, got {time!r}.")
    if time is not None and (time if isinstance(time, int) else time.total_seconds()) < 0:
        raise ValueError(f"{what} must not be negative, got {time!r}.")
