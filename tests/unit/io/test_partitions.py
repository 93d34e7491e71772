from __future__ import annotations

import pickle
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from flyteray.artifacts import Granularity, Metadata, TimePartition
from flyteray.io.partitions import partitions_of

DAY = date(2026, 3, 1)
HOUR = datetime(2026, 3, 1, 7, 30)


@pytest.mark.parametrize(
    ("value", "granularity", "text", "begin"),
    [
        (DAY, "day", "2026-03-01", DAY),
        (HOUR, "hour", "2026-03-01T07", datetime(2026, 3, 1, 7, tzinfo=timezone.utc)),
        (
            datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "hour",
            "2026-02-28T23",
            datetime(2026, 2, 28, 23, tzinfo=timezone.utc),
        ),
        (DAY, "week", "2026-W09", date(2026, 2, 23)),
        (HOUR, "month", "2026-03", DAY),
    ],
)
def test_a_time_has_a_text_that_sorts_as_times_do_and_a_begin(
    value: date, granularity: Granularity, text: str, begin: date
) -> None:
    made = TimePartition(value, granularity)

    assert (str(made), made.begin) == (text, begin)
    assert (str(TimePartition.read(text, granularity)), TimePartition.read(text, granularity).begin) == (
        text,
        begin,
    )


def test_times_are_times_and_all_else_is_a_text() -> None:
    week = TimePartition(DAY, "week")
    given = {"at": HOUR, "region": "eu", "shard": 3, "share": 1.5}

    assert partitions_of("m", given) == {
        "at": TimePartition(HOUR, "hour"),
        "region": "eu",
        "shard": "3",
        "share": "1.5",
    }
    metadata = Metadata(name="m", partitions={"week": week})
    assert pickle.loads(pickle.dumps(metadata)).partitions == {"week": week}


@pytest.mark.parametrize("value", [None, ["eu"], ("a", "b"), {"a": 1}], ids=repr)
def test_what_is_no_part_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="Partition 'p' must be a text"):
        Metadata(name="m", partitions={"p": value})


def test_one_partition_at_most_is_a_time() -> None:
    with pytest.raises(ValueError, match="'m': at most one partition is a time, got day, hour"):
        Metadata(name="m", partitions={"day": DAY, "hour": HOUR})
    with pytest.raises(TypeError, match="must be a date or datetime, got '2026-03-01'"):
        TimePartition("2026-03-01")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of hour, day, week, month, got 'year'"):
        TimePartition(DAY, "year")  # type: ignore[arg-type]
