from __future__ import annotations

import pickle
from datetime import date, datetime, timezone
from typing import Any

import pytest

from flyteray._plan.triggers.artifacts import ArtifactSpec, inputs_from, publication
from flyteray._plan.triggers.partitions import PartitionSchema, Selection, value_of
from flyteray._plan.values.border import arrived
from flyteray._plan.values.parser import read
from flyteray.artifacts import Metadata, TimePartition
from flyteray.io import File


def version(**partitions: Any) -> ArtifactSpec:
    spec, _ = publication(File[Any](path="/p"), Metadata(name="m", partitions=partitions), "1")
    return spec


DAILY = version(date=date(2026, 3, 1), region="eu")
HOURLY = version(at=datetime(2026, 3, 1, 7), region="eu")
MONTHLY = version(month=TimePartition(date(2026, 3, 1), "month"))


def test_values_are_what_they_were() -> None:
    assert value_of(DAILY, "date") == date(2026, 3, 1)
    assert value_of(DAILY, "region") == "eu"
    assert value_of(HOURLY, "at") == datetime(2026, 3, 1, 7, tzinfo=timezone.utc)
    assert value_of(MONTHLY, "month") == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("artifact", "wanted", "taken"),
    [
        (DAILY, {}, True),
        (DAILY, {"date": date(2026, 3, 1)}, True),
        (DAILY, {"date": datetime(2026, 3, 1, 9)}, True),
        (DAILY, {"date": "2026-03-01", "region": "eu"}, True),
        (DAILY, {"date": date(2026, 3, 2)}, False),
        (DAILY, {"region": ["us", "eu"]}, True),
        (DAILY, {"region": ["us"]}, False),
        (DAILY, {"other": "eu"}, False),
        (DAILY, {"date": (date(2026, 2, 1), date(2026, 3, 1))}, True),
        (DAILY, {"date": ("2026-03-02", "2026-03-05")}, False),
        (DAILY, {"region": ("2026-03-02", "2026-03-05")}, False),
        (HOURLY, {"at": "2026-03-01T07:45"}, True),
        (HOURLY, {"at": (date(2026, 2, 1), date(2026, 3, 1))}, True),
        (HOURLY, {"at": ("2026-03-01", "2026-03-01")}, True),
        (HOURLY, {"at": (datetime(2026, 3, 1), datetime(2026, 3, 1, 6))}, False),
        (MONTHLY, {"month": date(2026, 3, 20)}, True),
        (MONTHLY, {"month": "2026-03"}, True),
        (MONTHLY, {"month": (date(2026, 1, 31), date(2026, 2, 28))}, False),
    ],
)
def test_versions_are_picked_by_values_lists_and_ranges(
    artifact: ArtifactSpec, wanted: dict[str, Any], taken: bool
) -> None:
    assert Selection(wanted).takes(artifact) is taken


@pytest.mark.parametrize("wrong", [("a", "b"), (date(2026, 1, 1),), (1, 2)], ids=repr)
def test_a_range_is_of_times(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"'date': a range is \(begin, end\)"):
        Selection({"date": wrong})


def test_a_schema_is_declared_or_that_of_a_version() -> None:
    declared = PartitionSchema.declare("m", {"region": str, "date": date})

    assert declared.has(PartitionSchema.of(DAILY))
    assert (declared.all_keys, declared.granularity, declared.declared) == (("date", "region"), "day", True)
    assert str(declared) == "date (day), region"
    assert not declared.has(PartitionSchema.of(HOURLY))
    assert PartitionSchema.declare("m", {"at": datetime}).granularity == "hour"
    assert PartitionSchema.declare("m", {"month": "month"}).has(PartitionSchema.of(MONTHLY))
    assert str(PartitionSchema.of(version())) == "none"
    with pytest.raises(ValueError, match="at most one partition is a time, got a, b"):
        PartitionSchema.declare("m", {"a": date, "b": "hour"})
    with pytest.raises(TypeError, match="partition 'a' must be declared as str, int, date"):
        PartitionSchema.declare("m", {"a": "year"})


def test_a_trigger_gives_a_partition_as_what_its_input_is() -> None:
    parts = {"day": "date", "where": "region"}
    given = pickle.loads(pickle.dumps(inputs_from(DAILY, b"", None, parts)))

    assert read(datetime, given["day"]) == datetime(2026, 3, 1, tzinfo=timezone.utc)
    assert read(datetime | None, given["day"]) == datetime(2026, 3, 1, tzinfo=timezone.utc)
    assert read(date, given["day"]) == date(2026, 3, 1)
    assert read(str, given["day"]) == "2026-03-01"
    assert (type(read(str, given["day"])), arrived(str, read(str, given["where"]))) == (str, "eu")
    month = inputs_from(MONTHLY, b"", None, {"day": "month"})["day"]
    assert (read(str, month), read(date, month)) == ("2026-03", date(2026, 3, 1))
    assert read(int, inputs_from(version(shard=3), b"", None, {"n": "shard"})["n"]) == 3
