"""Times and pauses that a task finds unchanged when it is tried again, or when its run goes on after a loss."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

from flyteray._client.bridge import Verb
from flyteray._declare.tasks.trace import once

__all__ = ["now", "sleep", "time"]


async def _now() -> datetime:
    """The time in UTC when this call was first made. Outside tasks it is the time now."""
    return await once("durable.now", {}, lambda: datetime.now(timezone.utc))


async def _time() -> float:
    """The time when this call was first made, in seconds since 1970. Outside tasks it is the time now."""
    return await once("durable.time", {}, lambda: datetime.now(timezone.utc).timestamp())


async def _sleep(seconds: float | timedelta) -> None:
    """Sleep until so long after this call was first made: a task that is tried again sleeps for what is left.

    Args:
        seconds: How long; a timedelta does as well.

    Raises:
        ValueError: It is negative.
        TypeError: It is neither a number nor a timedelta.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, timedelta)):
        raise TypeError(f"durable.sleep takes seconds or a timedelta, got {seconds!r}.")
    length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if length < 0:
        raise ValueError(f"durable.sleep can't sleep for {seconds!r}: say 0 or more.")
    until = await once("durable.sleep", {"seconds": length}, lambda: _clock() + length)
    await asyncio.sleep(max(0.0, until - _clock()))


def _clock() -> float:
    return datetime.now(timezone.utc).timestamp()


now = Verb(_now)
time = Verb(_time)
sleep = Verb(_sleep)
