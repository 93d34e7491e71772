"""Every type that inputs and outputs may be of: given, sent to another process, returned, and refused."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Optional, TypedDict, Union

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from flyteray import TaskEnvironment
from flyteray._plan.values import pickling
from flyteray._plan.values.inputs import bind, check_output
from flyteray.errors import RuntimeDataValidationError
from flyteray.io import DataFrame, Dir, File
from flyteray.types import TypeTransformerFailedError

env = TaskEnvironment("types")
UTC = datetime.timezone.utc


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    a: int
    b: str


class Keys(TypedDict):
    x: int


@dataclass
class Inner:
    file: File  # type: ignore[type-arg]
    when: datetime.date


@dataclass
class Outer:
    inner: Inner
    table: DataFrame
    weights: np.ndarray = field(default_factory=lambda: np.ones(2))


class Model(pydantic.BaseModel):
    folder: Dir  # type: ignore[type-arg]
    inner: Inner
    table: DataFrame


class Own:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.x == other.x


INNER = Inner(File(path="s3://b/x"), datetime.date(2024, 1, 2))
OUTER = Outer(INNER, DataFrame(uri="s3://b/x.parquet"))
FRAME = pd.DataFrame({"a": [1, 2]})
ARROW = pa.table({"a": [1, 2]})

NOTHING: Any = object()
TYPES: dict[str, tuple[Any, Any, Any]] = {  # annotation, value, a value that does not fit
    "None": (None, None, 1),
    "bool": (bool, True, 1),
    "int": (int, 3, True),
    "int for float": (float, 1.5, 1),
    "float for int": (int, 3, 3.0),
    "text for int": (int, 3, "3"),
    "str": (str, "a", 1),
    "datetime": (datetime.datetime, datetime.datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02"),
    "date": (datetime.date, datetime.date(2024, 1, 2), 3),
    "timedelta": (datetime.timedelta, datetime.timedelta(1), 1.0),
    "enum": (Colour, Colour.RED, "green"),
    "literal": (Literal["a", "b"], "a", "c"),
    "literal number": (Literal[1, 2], 1, 3),
    "list": (list[int], [1, 2], [1, "2"]),
    "bare list": (list, [1, "a"], "text"),
    "dict": (dict[str, int], {"a": 1}, {"a": "1"}),
    "dict keys": (dict[str, int], {"a": 1}, {1: 1}),
    "bare dict": (dict, {"a": 1}, [1]),
    "optional": (Optional[int], None, "x"),  # noqa: UP045
    "union": (Union[int, str], "a", 1.5),  # noqa: UP007
    "first of a union": (int | str | None, 3, 1.5),
    "tuple": (tuple[int, str], (1, "a"), (1, 2)),
    "named tuple": (Pair, Pair(1, "a"), "text"),
    "typed dict": (Keys, {"x": 1}, {"x": "1"}),
    "nested": (dict[str, list[Colour | None]], {"a": [Colour.RED, None]}, {"a": [3]}),
    "dataclass": (Inner, INNER, 3),
    "dataclass of all": (Outer, OUTER, INNER),
    "dataclass field": (Inner, INNER, {"file": {"path": "x"}}),
    "pydantic": (Model, Model(folder=Dir(path="d"), inner=INNER, table=OUTER.table), 3),
    "protobuf": (Timestamp, Timestamp(seconds=3), 3),
    "pandas": (pd.DataFrame, FRAME, ARROW),
    "arrow": (pa.Table, ARROW, FRAME),
    "file": (File, File(path="x"), "x"),
    "file of a type": (File[str], File(path="x"), Dir(path="x")),
    "dir": (Dir, Dir(path="x"), File(path="x")),
    "table": (DataFrame, DataFrame(uri="x.csv"), "x.csv"),
    "list of files": (list[File], [File(path="x")], ["x"]),
    "bytes": (bytes, b"a", "a"),
    "set": (set[int], {1}, {"1"}),
    "path": (Path, Path("a"), 3),
    "array": (np.ndarray, np.arange(3), [1, 2]),
    "any": (Any, Own(1), NOTHING),
    "object": (object, Own(1), NOTHING),
    "callable": (Callable[[int], int], abs, NOTHING),
    "class": (Own, Own(1), 1),
}
GIVEN = {**TYPES, "tuple of any length": (tuple[int, ...], (1, 2, 3), (1, "2"))}


def task(annotation: Any) -> Any:
    @env.task
    def echo(x: annotation) -> annotation:
        return x

    return echo


def taking(annotation: Any) -> Any:
    @env.task
    def take(x: annotation) -> None: ...

    return take


def same(found: Any, value: Any) -> bool:
    if isinstance(value, (np.ndarray, pd.DataFrame, pa.Table)):
        return type(found) is type(value) and bool(np.array_equal(found, value))
    if isinstance(value, Outer):
        return bool(found.inner == value.inner and np.array_equal(found.weights, value.weights))
    return bool(found == value) and type(found) is type(value)


@pytest.mark.parametrize("name", GIVEN)
def test_a_value_is_given_and_sent(name: str) -> None:
    annotation, value, _ = GIVEN[name]

    bound = bind(taking(annotation), (value,), {})

    assert same(pickling.load(pickling.dump(bound))["x"], value)
    assert same(bind(taking(annotation), (value,), {}, here=True)["x"], value)


@pytest.mark.parametrize("name", TYPES)
def test_a_value_is_returned(name: str) -> None:
    annotation, value, _ = TYPES[name]

    assert same(pickling.load(pickling.dump(check_output(task(annotation), value))), value)
    assert same(check_output(task(annotation), value, here=True), value)


@pytest.mark.parametrize("name", [name for name, (*_, wrong) in GIVEN.items() if wrong is not NOTHING])
def test_a_value_that_does_not_fit_is_refused(name: str) -> None:
    annotation, _, wrong = GIVEN[name]

    with pytest.raises(TypeTransformerFailedError, match="Type conversion failed for variable 'x' of task"):
        bind(taking(annotation), (wrong,), {})
    if name in TYPES:
        with pytest.raises(RuntimeDataValidationError, match=r"Outputs? o\d"):
            check_output(task(annotation), wrong)


@pytest.mark.parametrize("annotation", [object, Any, int, Own, list[int]])
def test_every_type_may_have_none_as_its_default(annotation: Any) -> None:
    @env.task
    def take(x: annotation = None) -> None: ...

    assert bind(take, (), {}) == {}
    assert bind(take, (None,), {}) == {"x": None}


def test_a_dict_is_made_a_dataclass_and_a_model() -> None:
    given = {"file": File(path="s3://b/x"), "when": datetime.date(2024, 1, 2)}

    assert bind(taking(Inner), (given,), {})["x"] == INNER
    made = bind(taking(Model), ({"folder": Dir(path="d"), "inner": INNER, "table": FRAME},), {})["x"]
    assert made.table.val is FRAME
