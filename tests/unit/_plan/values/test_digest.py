from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from flyteray._plan.values.digest import digest
from flyteray.io import File


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Settings:
    rate: float
    layers: list[int] = field(default_factory=list)


class Model(BaseModel):
    name: str
    tags: set[str] = set()


class Pair(NamedTuple):
    a: int
    b: int


class Plain:
    def __init__(self, x: object) -> None:
        self.x = x


def _lambda(number: int) -> Any:
    return lambda x: x + number


def _cycle() -> list[Any]:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    return cycle


DIFFERENT: list[Any] = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    bytearray(b"1"),
    2**100,
    -1,
    1j,
    [],
    (),
    {},
    set(),
    [1, 2],
    [2, 1],
    (1, 2),
    [[1], 2],
    [1, [2]],
    ["ab", "c"],
    ["a", "bc"],
    {"a": 1},
    {"a": "1"},
    {"a": 2},
    {1},
    frozenset({1}),
    Colour.RED,
    Colour.BLUE,
    Colour,
    Settings(0.1),
    Settings(0.1, [1]),
    Model(name="a"),
    Model(name="a", tags={"x"}),
    Pair(1, 2),
    Plain(1),
    Plain(2),
    date(2024, 1, 1),
    datetime(2024, 1, 1),
    datetime(2024, 1, 1, tzinfo=timezone.utc),
    timedelta(seconds=1),
    PurePosixPath("a"),
    np.zeros(3),
    np.zeros(3, dtype="float32"),
    np.zeros((1, 3)),
    np.ones(3),
    np.zeros(10_000),
    np.ones(10_000),
    np.array(["a", None], dtype=object),
    np.float64(1.0),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"b": [1, 2]}),
    pd.DataFrame({"a": [1.0, 2.0]}),
    pd.DataFrame({"a": ["1", "2"]}),
    pd.DataFrame({"a": [1, 2]}, index=[1, 2]),
    pd.Series([1, 2]),
    pa.table({"a": [1, 2]}),
    pa.table({"a": [1, None]}),
    pl.DataFrame({"a": [1, 2]}),
    File(path="/a"),
    File(path="/b"),
    File(path="/a", hash="x"),
    len,
    digest,
    _lambda(1),
    _lambda(2),
    lambda x: x,
    os,
    _cycle(),
]


def test_values_that_differ_have_digests_that_differ() -> None:
    found: dict[str, Any] = {}
    for value in DIFFERENT:
        key = digest(value)
        assert key not in found, (value, found[key])
        found[key] = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Settings(0.5, [1, 2]), Settings(0.5, [1, 2])),
        (Model(name="a", tags={"x", "y", "z"}), Model(name="a", tags={"z", "y", "x"})),
        (np.arange(12).reshape(3, 4), np.arange(24).reshape(3, 8)[:, ::2] // 2),
        (
            pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
            pd.concat([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": ["x", "y"]})], axis=1),
        ),
        (pd.DataFrame({"a": list(range(4))}).iloc[1:3], pd.DataFrame({"a": [1, 2]}, index=[1, 2])),
        (pa.table({"a": [1, 2, 3]}).slice(1), pa.table({"a": [2, 3]})),
        (
            pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]),
            pa.table({"a": [1, 2]}),
        ),
        (File(path="/a", hash="x"), File(path="/b", hash="x")),
        (_lambda(1), _lambda(1)),
        (["x" * 3, "xxx"], ["xxx", "xxx"]),
        (_cycle(), _cycle()),
    ],
)
def test_values_that_are_equal_have_one_digest(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


def test_another_process_gives_the_same_digest_whatever_its_hash_seed() -> None:
    code = (
        "from flyteray._plan.values.digest import digest; import numpy as np;"
        "print(digest({'words': {'a', 'b', 'c', 'd'}, 'array': np.arange(9999.0), 1: [None, 2.5]}))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


def test_the_buffer_of_an_array_is_not_copied() -> None:
    import tracemalloc

    array = np.zeros(50_000_000, dtype="uint8")
    tracemalloc.start()
    digest({"array": array})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_what_can_not_be_pickled_has_no_digest() -> None:
    with pytest.raises(TypeError, match="lock"):
        digest({"a": threading.Lock()})


def test_a_digest_stays_what_it_was() -> None:
    # Names of actions and keys of results that are kept are made of it: a run of last week is recovered by them.
    value = {"x": 1, "name": "é", "rest": (2.5, None, True, b"z")}
    assert digest(value) == "ef8e2017e9cc7e979823a0dec9a8c4ef"
