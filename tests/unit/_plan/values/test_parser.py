"""How what is written on a command line is read, type by type."""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, List, Literal, NamedTuple, NewType, Optional, TypedDict, Union  # noqa: UP035
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest

from flyteray._plan.values.conversion import Unfit
from flyteray._plan.values.parser import Text, document_text, read
from flyteray._plan.values.type_names import type_of
from flyteray.io import DataFrame, Dir, File

UTC = datetime.timezone.utc


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Inner:
    colour: Colour
    when: date | None = None


@dataclass
class Config:
    rate: float
    price: Decimal = Decimal(0)
    inner: Inner | None = None
    colours: list[Colour] = field(default_factory=list)
    wait: timedelta = timedelta(0)
    data: File | None = None  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ValueError("rate is above 1")


class Model(pydantic.BaseModel):
    price: Decimal = Decimal(0)
    rate: float = 0.0
    when: datetime.datetime | None = None

    @pydantic.field_validator("rate")
    @classmethod
    def below(cls, rate: float) -> float:
        if rate > 1:
            raise ValueError("too much")
        return rate


class Rates(pydantic.RootModel[list[float]]):
    pass


class Settings(TypedDict, total=False):
    depth: int
    inner: Inner


class Pair(NamedTuple):
    left: int
    right: Colour = Colour.RED


class Plain:
    """A class that nobody knows how to write."""


PLAIN = Plain()
Name = NewType("Name", str)
Names = NewType("Names", list[str])

READ: list[tuple[Any, str, Any]] = [
    (int, "12", 12),
    (int, "-3", -3),
    (float, "1e-3", 0.001),
    (float, "5", 5.0),
    (float, "inf", math.inf),
    (str, "12345", "12345"),
    (str, "", ""),
    (str, "data.json", "data.json"),
    (bool, "false", False),
    (bool, "On", True),
    (bytes, "abc", b"abc"),
    (complex, "1 + 2j", 1 + 2j),
    (Decimal, "1.10", Decimal("1.10")),
    (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
    (Path, "data.json", Path("data.json")),
    (Name, "12345", "12345"),
    (Names, '["a"]', ["a"]),
    (Annotated[int, "doc"], "3", 3),
    (Any, "12", 12),
    (Any, "1.5", 1.5),
    (Any, '{"a": [1.5]}', {"a": [1.5]}),
    (Any, "plain words", "plain words"),
    (str | list[str], "12345", "12345"),
    (str | list[str], '["a"]', ["a"]),
    (list[str] | str, "12345", "12345"),
    (int | str, "12", 12),
    (int | str, "12a", "12a"),
    (float | int, "1", 1.0),
    (int | float, "1.5", 1.5),
    (bool | str, "true", True),
    (Optional[int], "7", 7),  # noqa: UP045
    (int | None, "null", None),
    (str | None, "none", "none"),
    (Union[None, date, str], "2024-05-31", date(2024, 5, 31)),  # noqa: UP007
    (Config | None, '{"rate": 1}', Config(1.0)),
    (datetime.datetime, "2024-05-31", datetime.datetime(2024, 5, 31)),
    (datetime.datetime, "2024-05-31T12:00", datetime.datetime(2024, 5, 31, 12)),
    (datetime.datetime, "2024-05-31 12:00:01.5", datetime.datetime(2024, 5, 31, 12, 0, 1, 500_000)),
    (datetime.datetime, "2024-05-31T12:00:00Z", datetime.datetime(2024, 5, 31, 12, tzinfo=UTC)),
    (datetime.datetime, "2024-05-31 - 1 day", datetime.datetime(2024, 5, 30)),
    (datetime.datetime, "2024-05-31T12:00 + PT1H", datetime.datetime(2024, 5, 31, 13)),
    (date, "2024-05-31", date(2024, 5, 31)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (timedelta, "1 day", timedelta(days=1)),
    (timedelta, "10 days", timedelta(days=10)),
    (timedelta, "90s", timedelta(seconds=90)),
    (timedelta, "1h30m", timedelta(hours=1.5)),
    (timedelta, "1.5 hours", timedelta(hours=1.5)),
    (timedelta, "2 days and 3 hours", timedelta(days=2, hours=3)),
    (timedelta, "1:24", timedelta(minutes=1, seconds=24)),
    (timedelta, ":22", timedelta(seconds=22)),
    (timedelta, "01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
    (timedelta, "1 day, 2:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    (timedelta, "24", timedelta(seconds=24)),
    (timedelta, "-5 minutes", timedelta(minutes=-5)),
    (timedelta, "P1DT2H", timedelta(days=1, hours=2)),
    (timedelta, "PT0.5S", timedelta(seconds=0.5)),
    (timedelta, "250 ms", timedelta(milliseconds=250)),
    (Colour, "RED", Colour.RED),
    (Colour, "blue", Colour.BLUE),
    (Level, "HIGH", Level.HIGH),
    (Level, "2", Level.HIGH),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2], "2", 2),
    (Literal[True, None], "true", True),
    (Literal[1, "1"], "1", "1"),
    (list[int], "[1, 2]", [1, 2]),
    (list[float], "[1, 2.5]", [1.0, 2.5]),
    (list[Decimal], "[1.10, 2]", [Decimal("1.10"), Decimal(2)]),
    (list[Colour], '["RED", "blue"]', [Colour.RED, Colour.BLUE]),
    (list[date], '["2024-05-31"]', [date(2024, 5, 31)]),
    (list[Path], '["a.json"]', [Path("a.json")]),
    (list[bool], "[true, false]", [True, False]),
    (list, "[1.5]", [1.5]),
    (List[int], "[1]", [1]),  # noqa: UP006
    (Sequence[int], "[1]", [1]),
    (Iterable[Colour], '["RED"]', [Colour.RED]),
    (Mapping[str, int], '{"a": 1}', {"a": 1}),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (set[int], "[1, 1]", {1}),
    (frozenset[Colour], '["RED"]', frozenset([Colour.RED])),
    (dict[str, float], '{"a": 1}', {"a": 1.0}),
    (dict[int, list[str]], '{"1": ["a"]}', {1: ["a"]}),
    (dict[Colour, int], '{"RED": 1}', {Colour.RED: 1}),
    (dict, '{"a": 1.5}', {"a": 1.5}),
    (dict[str, Any], '{"a": [1.5, {"b": 2.5}]}', {"a": [1.5, {"b": 2.5}]}),
    (
        Config,
        '{"rate": 0.5, "price": 1.10, "inner": {"colour": "red", "when": "2024-05-31"}, "colours": ["BLUE"], '
        '"wait": "1 day", "data": "s3://b/x"}',
        Config(
            0.5,
            Decimal("1.10"),
            Inner(Colour.RED, date(2024, 5, 31)),
            [Colour.BLUE],
            timedelta(days=1),
            File(path="s3://b/x"),
        ),
    ),
    (
        Model,
        '{"price": 1.10, "rate": 0.5, "when": "2024-05-31T00:00"}',
        Model(price=Decimal("1.10"), rate=0.5, when=datetime.datetime(2024, 5, 31)),
    ),
    (list[Model], '[{"rate": 1}]', [Model(rate=1)]),
    (Rates, "[1.5, 2]", Rates([1.5, 2.0])),
    (Settings, '{"depth": 1, "inner": {"colour": "RED"}}', {"depth": 1, "inner": Inner(Colour.RED)}),
    (Pair, '[1, "blue"]', Pair(1, Colour.BLUE)),
    (Pair, '{"left": 1}', Pair(1)),
    (File, "s3://bucket/key", File(path="s3://bucket/key")),
    (DataFrame, "s3://bucket/x.csv", DataFrame(uri="s3://bucket/x.csv")),
    (DataFrame, '{"uri": "s3://bucket/x", "format": "csv"}', DataFrame(uri="s3://bucket/x", format="csv")),
    (list[DataFrame], '["s3://bucket/x.csv"]', [DataFrame(uri="s3://bucket/x.csv")]),
    (File, '{"path": "s3://bucket/key", "format": "csv"}', File(path="s3://bucket/key", format="csv")),
    (IPv4Address, "127.0.0.1", IPv4Address("127.0.0.1")),
    (Plain, "tests.unit._plan.values.test_parser:PLAIN", PLAIN),
]


@pytest.mark.parametrize(("annotation", "text", "value"), READ, ids=range(len(READ)))
def test_a_text_is_read_as_the_annotation_says(annotation: Any, text: str, value: Any) -> None:
    result = read(annotation, text)

    assert result == value
    assert type(result) is type(value)
    assert repr(result) == repr(value)


UNFIT: list[tuple[Any, str, str]] = [
    (int, "1.5", "write a whole number"),
    (float, "much", "write a number"),
    (bool, "maybe", "write true or false"),
    (Decimal, "1,10", "write a number such as 1.10"),
    (UUID, "12", "hexadecimal"),
    (complex, "i", "1+2j"),
    (datetime.datetime, "2024", "an ISO date or time"),
    (datetime.datetime, "20240531", "an ISO date or time"),
    (datetime.datetime, "2024-13-01", "month"),
    (datetime.datetime, "now - soon", "write a duration"),
    (date, "1717113600", "an ISO date or time"),
    (datetime.time, "noon", "time of day"),
    (timedelta, "soon", "write a duration"),
    (timedelta, "1 fortnight", "write a duration"),
    (timedelta, "", "write a duration"),
    (Colour, "green", "Its members: RED, BLUE"),
    (Literal["a", "b"], "c", "choose one of: a, b"),
    (Literal[1, 2], "3", "choose one of: 1, 2"),
    (list[int], "12", "expected list[int], got int: 12"),
    (list[int], "1,2", "it is no JSON"),
    (list[int], '[1, "a"]', "[1]: expected int, got str: 'a'"),
    (list[int], "[1.0]", "[0]: expected int, got float: 1.0"),
    (list[Colour], '["green"]', "[0]: str: 'green' is no Colour"),
    (dict[int, str], '{"a": "b"}', "['a']: write a whole number"),
    (tuple[int, str], "[1]", "expected 2 values"),
    (Config, '{"rate": 5}', "Config refuses it: ValueError: rate is above 1"),
    (Config, '{"rate": "x", "prize": 1}', "prize: Config has no such field"),
    (Config, '{"rate": 0, "inner": {"colour": "x"}}', "inner.colour: str: 'x' is no Colour"),
    (Config, '{"rate": 0, "data": "no/such"}', "data: there is no file 'no/such' here"),
    (Config | None, '{"rate": 5}', "rate is above 1"),
    (Model, '{"rate": 5}', "rate: Value error, too much"),
    (Settings, '{"depth": "x"}', "depth: expected int"),
    (int | list[int], "x", "expected int | list[int], got str: 'x'"),
    (File, "no/such.csv", "there is no file 'no/such.csv' here"),
    (Dir, "no/such", "there is no folder 'no/such' here"),
    (DataFrame, "no/such.csv", "there is no file and no folder 'no/such.csv' here"),
    (DataFrame, '{"url": "x"}', "url: DataFrame has no such field. Its fields: uri, format, hash"),
    (IPv4Address, "here", "not a valid IPv4 address"),
    (Plain, "5", "write module:name of one"),
    (Plain, "tests.unit._plan.values.test_parser:READ", "expected Plain, got list"),
    (Plain, "no_such_module:x", "can't be imported"),
    (pd.DataFrame, "data.json5", "a file that ends in .csv, .parquet"),
    (pd.DataFrame, "no.csv", "there is no file 'no.csv' here"),
    (np.ndarray, "no.npy", "the path of an .npy file"),
]


@pytest.mark.parametrize(("annotation", "text", "words"), UNFIT, ids=range(len(UNFIT)))
def test_a_text_that_does_not_fit_is_told(annotation: Any, text: str, words: str) -> None:
    with pytest.raises(Unfit) as caught:
        read(annotation, text)

    assert words in caught.value.told("")


def test_now_and_today_are_those_of_this_machine() -> None:
    now = datetime.datetime.now()

    assert abs(read(datetime.datetime, "now") - now) < timedelta(minutes=1)
    assert abs(read(datetime.datetime, "now - 1 day") - (now - timedelta(days=1))) < timedelta(minutes=1)
    assert read(datetime.datetime, "today + 2 hours").time() == datetime.time(2)
    assert read(date, "today") in (now.date(), date.today())
    assert read(date, "today-1d") == read(date, "today") - timedelta(days=1)


def test_a_path_is_a_path_and_its_content_only_where_json_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.json").write_text('{"rate": 0.25, "price": 1.10}')
    Path("data.yaml").write_text("rate: 0.25\nprice: 1.5\ninner:\n  colour: RED\n  when: 2024-05-31\n")
    Path("bad.yml").write_text("a: [")

    assert read(File, "data.json") == File(path=str(tmp_path / "data.json"))
    assert read(Dir, ".") == Dir(path=str(tmp_path))
    assert read(DataFrame, "data.json") == DataFrame(uri=str(tmp_path / "data.json"))
    assert read(DataFrame, ".") == DataFrame(uri=str(tmp_path))
    assert read(list[File], '["data.json"]') == [File(path=str(tmp_path / "data.json"))]
    assert read(Path | None, "data.json") == Path("data.json")
    assert read(Any, "data.json") == "data.json"
    assert read(str | dict[str, float], "data.json") == {"rate": 0.25, "price": 1.1}
    assert read(Config, "data.json") == Config(0.25, Decimal("1.10"))
    assert read(Config, "data.yaml") == Config(0.25, Decimal("1.5"), Inner(Colour.RED, date(2024, 5, 31)))
    assert json.loads(document_text("data.yaml"))["inner"] == {"colour": "RED", "when": "2024-05-31"}
    assert document_text("elsewhere.yaml") == "elsewhere.yaml"
    for wrong in ("bad.yml", "no.json"):
        with pytest.raises(Unfit):
            read(Config, wrong)


def test_tables_and_arrays_are_read_from_their_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_csv(tmp_path / "frame.csv", index=False)
    frame.to_parquet(tmp_path / "frame.parquet")
    np.save(tmp_path / "array.npy", np.ones(3))

    assert read(pd.DataFrame, str(tmp_path / "frame.csv")).equals(frame)
    assert read(pd.DataFrame | None, str(tmp_path / "frame.parquet")).equals(frame)
    assert read(pa.Table, str(tmp_path / "frame.csv")).to_pydict() == {"a": [1, 2]}
    assert read(np.ndarray, str(tmp_path / "array.npy")).sum() == 3
    assert read(np.ndarray, "[[1, 2.5]]").tolist() == [[1.0, 2.5]]


def test_fields_that_are_left_out_are_those_of_the_default() -> None:
    default = Config(0.5, Decimal(3), Inner(Colour.BLUE))

    assert read(Config, '{"rate": 0.25}', default) == Config(0.25, Decimal(3), Inner(Colour.BLUE))
    assert read(Config | None, '{"rate": 0.25}', default) == Config(0.25, Decimal(3), Inner(Colour.BLUE))
    assert read(Model, '{"rate": 0.25}', Model(price=Decimal(2))) == Model(price=Decimal(2), rate=0.25)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("int", int),
        ("list[int]", list[int]),
        ("int | None", Optional[int]),  # noqa: UP045
        ("Optional[int]", Optional[int]),  # noqa: UP045
        ("dict[str, datetime.datetime]", dict[str, datetime.datetime]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("Literal['a', 2]", Literal["a", 2]),
        ("decimal.Decimal | flyteray.io.file.File", Union[Decimal, File]),  # noqa: UP007
        ("Any", Any),
        ("Config", Text),
        ("list[train.Config]", Text),
        ("not words", Text),
    ],
)
def test_the_words_for_types_that_all_know_are_read_back(words: str, kind: Any) -> None:
    assert type_of(words) == kind
