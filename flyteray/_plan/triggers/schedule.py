"""A schedule is ticks, points in time: which one comes next, which were missed. The time now is passed in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim

from flyteray._declare.options.schedule import Cron, FixedRate
from flyteray._plan.spec import Spec

CAUGHT_UP = timedelta(minutes=10)


class ScheduleSpec(Spec):
    """The ticks of a ``cron`` expression by the clock of ``timezone``, or one each ``every_s`` seconds.

    Those are counted from ``start``; None: from when the schedule is put to use.
    """

    cron: str | None = None
    timezone: str = "UTC"
    every_s: float | None = None
    start: datetime | None = None

    @classmethod
    def of(cls, declared: Cron | FixedRate) -> ScheduleSpec:
        """The schedule that is declared."""
        if isinstance(declared, Cron):
            return cls(cron=declared.fields, timezone=declared.timezone)
        return cls(every_s=declared.interval_minutes * 60.0, start=declared.start_time)

    def __str__(self) -> str:
        if self.cron is not None:
            return f"{self.cron} {self.timezone}"
        start = f" from {self.start.isoformat()}" if self.start else ""
        return f"every {timedelta(seconds=self.every_s or 0)}{start}"


def ticks(schedule: ScheduleSpec, after: datetime, since: datetime) -> Iterator[datetime]:
    """The ticks after a point in time, in UTC and in order; ``since`` is when the schedule was put to use."""
    if schedule.cron is not None:
        return _cron_ticks(schedule.cron, _zone(schedule.timezone), after)
    return _equal_ticks(timedelta(seconds=schedule.every_s or 0), schedule.start, after, since)


def next_tick(schedule: ScheduleSpec, after: datetime, since: datetime) -> datetime | None:
    """The first tick after a point in time; None: there is none within fifty years."""
    return next(ticks(schedule, after, since), None)


def last_tick(schedule: ScheduleSpec, at: datetime, since: datetime) -> datetime | None:
    """The last tick until a point in time, which may be one itself; None: there was none."""
    if schedule.cron is None:
        every = timedelta(seconds=schedule.every_s or 0)
        start = schedule.start or since
        passed = math.floor((at - start) / every)
        return start + passed * every if passed >= (0 if schedule.start else 1) else None
    before = at.replace(microsecond=0) + timedelta(seconds=1)
    backwards = CronSim(schedule.cron, before.astimezone(_zone(schedule.timezone)), reverse=True)
    passed_ticks = (tick.astimezone(timezone.utc) for tick in backwards)
    found = next((tick for tick in passed_ticks if tick <= at), None)
    if found is None:
        return None
    # In the hour that there is twice, the way back leaves out a tick that the way there has.
    between = itertools.takewhile(lambda tick: tick <= at, ticks(schedule, found, since))
    return max(between, default=found)


def due(schedule: ScheduleSpec, after: datetime, since: datetime, now: datetime) -> list[datetime]:
    """The ticks to act on now, of those ``after`` the one that was acted on last.

    As a rule there is one. After an outage they are all those of the last ten minutes (:data:`CAUGHT_UP`), or where
    there is none among them, the last one before.
    """
    recent = ticks(schedule, max(after, now - CAUGHT_UP), since)
    if found := list(itertools.takewhile(lambda tick: tick <= now, recent)):
        return found
    last = last_tick(schedule, now, since)
    return [last] if last is not None and last > after else []


def _cron_ticks(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    for tick in CronSim(cron, after.astimezone(zone)):
        at = tick.astimezone(timezone.utc)
        if at > after:  # not so in the hour that there is twice
            yield at


def _equal_ticks(
    every: timedelta, start: datetime | None, after: datetime, since: datetime
) -> Iterator[datetime]:
    first = start or since + every
    number = max(0, math.floor((after - first) / every) + 1)
    return (first + each * every for each in itertools.count(number))


def _zone(name: str) -> tzinfo:
    return timezone.utc if name == "UTC" else ZoneInfo(name)
