"""Schedules say when something is to happen: by the clock, or at equal intervals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final
from zoneinfo import ZoneInfo

_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ANY_TIME = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Cron:
    """A schedule by the clock.

    Where clocks are put forward, a time that there is not that day happens at once after the gap; where they are put
    back, a time that there is twice happens the first time only. Schedules of each hour or more often go on by real
    time, and so do those with seconds.

    Args:
        expression: Minute, hour, day of the month, month and day of the week: ``"0 6 * * 1"`` is Mondays at six. Names
            of months and days are understood, and ``L`` for the last day of a month, ``MON#2`` for the second Monday,
            ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly``. With six fields the first one is
            seconds: ``"*/10 * * * * *"``. Not of Flyte.
        timezone: Whose clock: a name such as ``"Europe/London"``.

    Raises:
        ValueError: No such expression, no such zone, or a time that never comes, such as February the 30th.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        self._check_expression()
        if self.timezone == "UTC":
            return  # also where the system has no list of zones
        try:
            ZoneInfo(self.timezone)
        except (LookupError, ValueError, TypeError, OSError) as error:
            raise ValueError(
                f'Cron: there is no time zone {self.timezone!r}. Give a name such as "UTC" or "Europe/London".'
            ) from error

    def _check_expression(self) -> None:
        from cronsim import CronSim, CronSimError  # deferred: most who declare tasks have no schedule

        if not isinstance(self.expression, str) or len(self.fields.split()) not in (5, 6):
            named = ", ".join(sorted(_NAMED))
            raise ValueError(
                'A Cron needs five fields, minute hour day month weekday, as in "0 6 * * 1" (with seconds before them, '
                f"six), or one of {named}; got {self.expression!r}."
            )
        try:
            never = next(CronSim(self.fields, _ANY_TIME), None) is None
        except CronSimError as error:
            raise ValueError(f"Cron {self.expression!r}: {str(error).lower()}.") from None
        if never:
            raise ValueError(f"Cron {self.expression!r}: no such day comes in the next fifty years.")

    @property
    def fields(self) -> str:
        """The expression in fields, where it is one of the names as well."""
        return _NAMED.get(self.expression.strip().lower(), self.expression)

    @property
    def timezone_expression(self) -> str:
        """The expression with its zone before it."""
        return f"CRON_TZ={self.timezone} {self.expression}"

    def __str__(self) -> str:
        return f"Cron Trigger: {self.timezone_expression}"


@dataclass(frozen=True)
class FixedRate:
    """A schedule of equal intervals.

    Args:
        interval_minutes: From one run to the next. For less than a minute, use :class:`Cron` with seconds.
        start_time: When the first one starts, in whole seconds; without a time zone it is UTC. Where it has passed, the
            intervals are counted from it all the same. Default: one interval after the deployment.

    Raises:
        TypeError: The start is no datetime.
        ValueError: The interval is no whole number of minutes, or less than one.
    """

    interval_minutes: int
    start_time: datetime | None = None

    def __post_init__(self) -> None:
        minutes = self.interval_minutes
        if isinstance(minutes, bool) or not isinstance(minutes, int) or minutes < 1:
            raise ValueError(
                f"FixedRate interval_minutes must be an int of 1 or more, got {minutes!r}. "
                'For less than a minute use a Cron with seconds first, as in Cron("*/10 * * * * *").'
            )
        start = self.start_time
        if start is None:
            return
        if not isinstance(start, datetime):
            raise TypeError(f"FixedRate start_time must be a datetime, got {start!r}.")
        aware = start if start.tzinfo else start.replace(tzinfo=timezone.utc)
        object.__setattr__(self, "start_time", aware.replace(microsecond=0))

    def __str__(self) -> str:
        return f"FixedRate Trigger: every {self.interval_minutes} minutes"
