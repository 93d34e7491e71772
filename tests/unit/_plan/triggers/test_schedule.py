from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyteray import Cron, FixedRate
from flyteray._plan.triggers.schedule import CAUGHT_UP, ScheduleSpec, due, last_tick, next_tick, ticks
from tests.unit.builders import NOON

BERLIN = "Europe/Berlin"
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def some(schedule: ScheduleSpec, after: datetime, count: int) -> list[str]:
    found = itertools.islice(ticks(schedule, after, after), count)
    return [f"{tick:%m-%d %H:%M:%S}" for tick in found]


def cron(expression: str, zone: str = "UTC") -> ScheduleSpec:
    return ScheduleSpec.of(Cron(expression, zone))


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (cron("@daily"), "2026-02-27", ["02-28 00:00:00", "03-01 00:00:00"]),
        (cron("*/30 * * * * *"), "2026-02-27", ["02-27 00:00:30", "02-27 00:01:00"]),
        (cron("0 6 * * MON", "Asia/Kolkata"), "2026-02-27", ["03-02 00:30:00", "03-09 00:30:00"]),
        (cron("0 0 L * *"), "2026-02-27", ["02-28 00:00:00", "03-31 00:00:00"]),
        # Half past two is not there on March the 29th in Berlin, and is there twice on October the 25th.
        (cron("30 2 * * *", BERLIN), "2026-03-28", ["03-28 01:30:00", "03-29 01:00:00", "03-30 00:30:00"]),
        (cron("30 2 * * *", BERLIN), "2026-10-24 12:00", ["10-25 00:30:00", "10-26 01:30:00"]),
        (cron("0 * * * *", BERLIN), "2026-10-24 23:30", ["10-25 00:00:00", "10-25 01:00:00"]),
        (ScheduleSpec.of(FixedRate(90)), "2026-02-27", ["02-27 01:30:00", "02-27 03:00:00"]),
        (
            ScheduleSpec.of(FixedRate(60, datetime(2026, 2, 27, 0, 10))),
            "2026-02-27 05:00",
            ["02-27 05:10:00", "02-27 06:10:00"],
        ),
        (ScheduleSpec.of(FixedRate(60, datetime(2026, 3, 1))), "2026-02-27", ["03-01 00:00:00"]),
    ],
    ids=str,
)
def test_the_ticks_of_a_schedule(schedule: ScheduleSpec, after: str, expected: list[str]) -> None:
    assert some(schedule, utc(after), len(expected)) == expected


schedules = st.sampled_from(
    [
        cron("* * * * *"),
        cron("30 2 * * *", BERLIN),
        cron("15 1,2 * * *", "America/New_York"),
        cron("30 */2 * * *", "Australia/Lord_Howe"),
        cron("0 8 * * 1-5", "Asia/Kolkata"),
        ScheduleSpec.of(FixedRate(7, datetime(2026, 1, 1))),
    ]
)
# About the days on which clocks are changed.
times = st.sampled_from(
    [utc(day) for day in ("2026-03-29", "2026-04-04 14:00", "2026-10-25", "2026-11-01 05:00")]
)


@given(schedules, times, st.integers(-7200, 4 * 3600))
def test_the_last_tick_is_that_after_which_the_next_one_comes(
    schedule: ScheduleSpec, about: datetime, seconds: int
) -> None:
    at = about + timedelta(seconds=seconds)
    since = at - timedelta(days=8)

    passed = list(itertools.takewhile(lambda tick: tick <= at, ticks(schedule, since, since)))

    assert last_tick(schedule, at, since) == passed[-1]
    following = next_tick(schedule, at, since)
    assert following is not None
    assert following > at
    assert passed == sorted(set(passed))


@given(st.lists(st.integers(0, 900), max_size=12))
def test_each_tick_is_acted_on_once_however_often_the_clock_is_looked_at(pauses: list[int]) -> None:
    schedule = cron("* * * * *")
    acted: list[datetime] = []
    now = NOON
    for pause in pauses:
        now += timedelta(seconds=min(pause, CAUGHT_UP.total_seconds()))
        acted += due(schedule, acted[-1] if acted else NOON, NOON, now)

    assert acted == list(itertools.takewhile(lambda tick: tick <= now, ticks(schedule, NOON, NOON)))


@pytest.mark.parametrize(
    ("expression", "hours", "missed"),
    [
        ("* * * * *", 3, [f"{14:02}:{minute}" for minute in range(51, 60)] + ["15:00"]),
        ("*/5 * * * *", 3, ["14:55", "15:00"]),
        ("30 * * * *", 3, ["14:30"]),  # none in the last ten minutes: the last one
        ("0 13 * * *", 3, ["13:00"]),
        ("0 18 * * *", 3, []),
    ],
)
def test_what_is_caught_up_after_an_outage(expression: str, hours: int, missed: list[str]) -> None:
    found = due(cron(expression), NOON, NOON, NOON + hours * HOUR)

    assert [f"{tick:%H:%M}" for tick in found] == missed


def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    assert due(cron("* * * * *"), NOON + HOUR, NOON, NOON + timedelta(minutes=30)) == []


def test_an_interval_begins_when_the_schedule_is_put_to_use() -> None:
    schedule = ScheduleSpec.of(FixedRate(60))

    assert last_tick(schedule, NOON + HOUR / 2, NOON) is None
    assert last_tick(schedule, NOON + 2.5 * HOUR, NOON) == NOON + 2 * HOUR
    assert due(schedule, NOON, NOON, NOON + HOUR / 2) == []
    assert str(schedule) == "every 1:00:00"
    assert str(cron("@daily", BERLIN)) == "0 0 * * * Europe/Berlin"
