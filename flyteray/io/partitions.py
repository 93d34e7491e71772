"""A partition is a part of all that has an artifact's name: a text, or a time of some granularity."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any, Final, Literal, TypeAlias, cast

Granularity: TypeAlias = Literal["hour", "day", "week", "month"]
GRANULARITIES: Final[dict[Granularity, str]] = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
}
_READ = {"week": ("-1", "%G-W%V-%u")}  # a week has no day of its own


@dataclass(frozen=True)
class TimePartition:
    """A partition that is a time, of a granularity; a ``date`` alone is a day, a ``datetime`` an hour.

    A time with a zone is that in UTC, one without is in UTC.

    Raises:
        TypeError: The value is neither.
        ValueError: Another granularity.
    """

    value: date | datetime
    granularity: Granularity = "day"

    def __post_init__(self) -> None:
        if not isinstance(self.value, date):
            raise TypeError(f"TimePartition value must be a date or datetime, got {self.value!r}.")
        if self.granularity not in GRANULARITIES:
            raise ValueError(
                f"TimePartition granularity must be one of {', '.join(GRANULARITIES)}, got {self.granularity!r}."
            )
        if isinstance(self.value, datetime) and self.value.tzinfo is not None:
            object.__setattr__(self, "value", self.value.astimezone(timezone.utc))

    @classmethod
    def read(cls, text: str, granularity: str) -> TimePartition:
        """The partition whose text it is."""
        known = cast(Granularity, granularity)
        more, form = _READ.get(known, ("", GRANULARITIES[known]))
        return cls(datetime.strptime(text + more, form), known)

    @property
    def begin(self) -> date | datetime:
        """The time that it begins at: a ``datetime`` in UTC where it is an hour, else a ``date``."""
        moment = self.moment
        return moment if self.granularity == "hour" else moment.date()

    @property
    def moment(self) -> datetime:
        """The time that it begins at, in UTC."""
        more, form = _READ.get(self.granularity, ("", GRANULARITIES[self.granularity]))
        return datetime.strptime(str(self) + more, form).replace(tzinfo=timezone.utc)

    def __str__(self) -> str:
        return self.value.strftime(GRANULARITIES[self.granularity])


Partition: TypeAlias = "str | TimePartition"


def partitions_of(name: str, given: Mapping[str, Any]) -> dict[str, Partition]:
    """The partitions of a version of an artifact: times as what they are, all else as texts.

    Raises:
        TypeError: A value that is no part of anything: None or a collection.
        ValueError: Several times.
    """
    found = {key: _partition(key, value) for key, value in given.items()}
    times = [key for key, value in found.items() if isinstance(value, TimePartition)]
    if len(times) > 1:
        raise ValueError(
            f"Artifact {name!r}: at most one partition is a time, got {', '.join(times)}. Give texts for the others."
        )
    return found


def _partition(key: str, value: object) -> Partition:
    if isinstance(value, TimePartition):
        return value
    if isinstance(value, date):
        return TimePartition(value, "hour" if isinstance(value, datetime) else "day")
    if value is None or (isinstance(value, Collection) and not isinstance(value, str)):
        raise TypeError(
            f"Partition {key!r} must be a text, a number, a date or a TimePartition, got {value!r}."
        )
    return str(value)
