"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float = 180.0, every: float = 0.05) -> T:
    """Return the first truthy value of ``condition``; fail with its last value after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s; last value: {value!r}"
        time.sleep(every)
    return value


def eventually_equal(
    value: Callable[[], T], expected: T, timeout: float = 180.0, every: float = 0.05
) -> None:
    """Return when ``value`` gives what is expected; fail with what it gave last after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while (last := value()) != expected:
        assert time.monotonic() < deadline, f"not {expected!r} within {timeout} s; last value: {last!r}"
        time.sleep(every)
