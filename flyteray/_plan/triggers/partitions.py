"""Versions of an artifact are told apart by their partitions, and picked by some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, cast

from flyteray._plan.spec import Spec
from flyteray._plan.triggers.artifacts import ArtifactSpec
from flyteray.io.partitions import GRANULARITIES, Granularity, TimePartition


class PartitionSchema(Spec):
    """The partitions that the versions of an artifact have.

    Attributes:
        time_key: The one that is a time; None: none is.
        granularity: Of the time: ``"hour"``, ``"day"``, ``"week"`` or ``"month"``.
        keys: Those that are texts.
        declared: Whether somebody has fixed them, by ``Artifact.declare``; else they are those of the first version.
    """

    time_key: str | None = None
    granularity: str | None = None
    keys: tuple[str, ...] = ()
    declared: bool = False

    @property
    def all_keys(self) -> tuple[str, ...]:
        """All of them, the time first."""
        return (*([self.time_key] if self.time_key else []), *self.keys)

    @classmethod
    def of(cls, artifact: ArtifactSpec) -> PartitionSchema:
        """The partitions that a version has."""
        texts = tuple(sorted(key for key in artifact.partitions if key not in artifact.times))
        time_key = next(iter(artifact.times), None)
        return cls(time_key=time_key, granularity=artifact.times.get(time_key or ""), keys=texts)

    @classmethod
    def declare(cls, name: str, partitions: Mapping[str, Any]) -> PartitionSchema:
        """The partitions that somebody fixes: by key ``str`` or ``int``, ``date``, ``datetime`` or a granularity.

        Raises:
            TypeError: Another kind.
            ValueError: Several times.
        """
        kinds = {key: _granularity(name, key, kind) for key, kind in partitions.items()}
        times = [key for key, granularity in kinds.items() if granularity]
        if len(times) > 1:
            raise ValueError(f"Artifact {name!r}: at most one partition is a time, got {', '.join(times)}.")
        texts = tuple(sorted(key for key in kinds if key not in times))
        time_key = times[0] if times else None
        return cls(time_key=time_key, granularity=kinds.get(time_key or ""), keys=texts, declared=True)

    def has(self, other: PartitionSchema) -> bool:
        """Whether they are the same, whoever has said so."""
        return self.model_copy(update={"declared": other.declared}) == other

    def __str__(self) -> str:
        words = [*([f"{self.time_key} ({self.granularity})"] if self.time_key else []), *self.keys]
        return ", ".join(words) or "none"


def value_of(artifact: ArtifactSpec, key: str) -> str | date | datetime:
    """The value of a partition: a ``datetime`` in UTC for an hour, a ``date`` for other times, else a text."""
    text = artifact.partitions[key]
    granularity = artifact.times.get(key)
    return text if granularity is None else TimePartition.read(text, granularity).begin


@dataclass(frozen=True)
class Selection:
    """Which versions are meant: by partition a value, a list of values, or a range of times as a tuple of two."""

    wanted: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key, value in self.wanted.items():
            if isinstance(value, tuple) and (len(value) != 2 or not all(map(_is_time, value))):
                raise ValueError(
                    f"Partition {key!r}: a range is (begin, end) of dates, datetimes or ISO texts, both included, got "
                    f"{value!r}."
                )

    @property
    def is_of_one(self) -> bool:
        """Whether it names single values only."""
        return not any(isinstance(value, (list, tuple)) for value in self.wanted.values())

    def takes(self, artifact: ArtifactSpec) -> bool:
        """Whether a version is meant."""
        return all(_takes(artifact, key, value) for key, value in self.wanted.items())


def _takes(artifact: ArtifactSpec, key: str, wanted: Any) -> bool:
    if key not in artifact.partitions:
        return False
    if isinstance(wanted, list):
        return any(_takes(artifact, key, each) for each in wanted)
    there = artifact.partitions[key]
    granularity = cast(Granularity, artifact.times.get(key) or "") or None
    if isinstance(wanted, tuple):
        return granularity is not None and _text(wanted[0], granularity) <= there <= _last(
            wanted[1], granularity
        )
    return there == _text(wanted, granularity)


def _text(wanted: Any, granularity: Granularity | None) -> str:
    """A value as the text that versions have of it."""
    if isinstance(wanted, TimePartition):
        return str(wanted)
    moment = _read(wanted) if granularity else wanted
    if isinstance(moment, date):
        return str(TimePartition(moment, granularity or ("hour" if isinstance(moment, datetime) else "day")))
    return str(wanted)


def _last(end: Any, granularity: Granularity) -> str:
    """The text of the last part of a range: of a day all of its hours are in it."""
    moment = _read(end)
    is_day = not isinstance(moment, datetime) or (isinstance(end, str) and len(end) == len("2026-01-31"))
    if is_day and isinstance(moment, date):
        return _text(datetime.combine(moment, time(23)), granularity)
    return _text(end, granularity)


def _is_time(value: Any) -> bool:
    return isinstance(_read(value), (date, TimePartition))


def _read(value: Any) -> Any:
    """A text that is written as an ISO date or time as what it means; all else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _granularity(name: str, key: str, kind: object) -> str | None:
    if kind in (str, int):
        return None
    if kind in (date, datetime):
        return "hour" if kind is datetime else "day"
    if isinstance(kind, str) and kind in GRANULARITIES:
        return kind
    raise TypeError(
        f"Artifact {name!r}: partition {key!r} must be declared as str, int, date, datetime or one of "
        f"{', '.join(map(repr, GRANULARITIES))}, got {kind!r}."
    )
