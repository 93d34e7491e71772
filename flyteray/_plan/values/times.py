"""Times are read as people write them: dates, ``now``, ``today - 1 day``, durations."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

from pydantic import TypeAdapter, ValidationError

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ].+)?", re.IGNORECASE)
_SHIFTED = re.compile(r"(now|today)\s*([-+])\s*(.+)|(.+?)\s+([-+])\s+(.+)")
_ISO_DURATION = re.compile(
    r"([-+])?P(?:(?P<weeks>[\d.]+)W)?(?:(?P<days>[\d.]+)D)?"
    r"(?:T(?:(?P<hours>[\d.]+)H)?(?:(?P<minutes>[\d.]+)M)?(?:(?P<seconds>[\d.]+)S)?)?"
)
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d*):)?(\d+(?:\.\d+)?)")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*(?:,|\band\b)?\s*")
_UNITS = {
    **dict.fromkeys(("weeks", "week", "w"), "weeks"),
    **dict.fromkeys(("days", "day", "d"), "days"),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), "hours"),
    **dict.fromkeys(("minutes", "minute", "mins", "min", "m"), "minutes"),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), "seconds"),
    **dict.fromkeys(("milliseconds", "millisecond", "millis", "ms"), "milliseconds"),
    **dict.fromkeys(("microseconds", "microsecond", "micros", "us", "µs"), "microseconds"),
}


def read_datetime(text: str) -> datetime:
    """A date and time; ValueError where it is none. ``now`` and ``today`` are those of this machine."""
    told = text.strip()
    if told == "now":
        return datetime.now()
    if told == "today":
        return datetime.combine(date.today(), time())
    if shifted := _SHIFTED.fullmatch(told):
        base, sign, by = (part for part in shifted.groups() if part is not None)
        span = read_timedelta(by)
        return read_datetime(base) + (-span if sign == "-" else span)
    if not _ISO.fullmatch(told):  # pydantic would take a number for seconds since 1970
        raise ValueError(
            "write an ISO date or time such as 2024-05-31T12:00, now, today, or one of these and a duration: "
            "now - 1 day"
        )
    try:
        moment = TypeAdapter(datetime).validate_python(told)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from error
    offset = moment.utcoffset()
    return moment if offset is None else moment.replace(tzinfo=timezone(offset))


def read_date(text: str) -> date:
    """The day of what :func:`read_datetime` reads."""
    return read_datetime(text).date()


def read_time(text: str) -> time:
    """A time of day; ValueError where it is none."""
    try:
        return TypeAdapter(time).validate_python(text.strip()) if ":" in text else time.fromisoformat(text)
    except ValueError as error:  # a ValidationError is one
        raise ValueError("write a time of day such as 12:30 or 12:30:15") from error


def read_timedelta(text: str) -> timedelta:
    """A duration; ValueError where it is none."""
    told = text.strip()
    if told.startswith(("-", "+")) and not told[1:].startswith("P"):
        span = read_timedelta(told[1:])
        return -span if told[0] == "-" else span
    if (iso := _ISO_DURATION.fullmatch(told)) and any(iso.groupdict().values()):
        span = timedelta(**{unit: float(count) for unit, count in iso.groupdict().items() if count})
        return -span if iso[1] == "-" else span
    if clock := _CLOCK.fullmatch(told):
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    span, at = timedelta(), 0
    lower = told.lower()
    while part := _PART.match(lower, at):
        if part[2] not in _UNITS:
            break
        span += timedelta(**{_UNITS[part[2]]: float(part[1])})
        at = part.end()
    rest = _CLOCK.fullmatch(lower, at)  # 1 day, 2:03:04
    if at and (rest or at == len(lower)):
        return span + (read_timedelta(lower[at:]) if rest else timedelta())
    raise ValueError(
        "write a duration such as 1 day, 90 s, 1h30m, 1:30 (minutes and seconds), 24 (seconds), or ISO's P1DT2H"
    )
