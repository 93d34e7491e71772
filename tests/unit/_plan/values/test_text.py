from __future__ import annotations

import enum
import io
import json
import math
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest

from flyteray._plan.values.text import as_json, plain, safe_repr
from flyteray.cli import printing


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Node:
    name: str
    children: list[Any] = field(default_factory=list)


class Model(pydantic.BaseModel):
    a: int
    secret: pydantic.SecretStr = pydantic.SecretStr("s")
    other: Any = None


class Pair(NamedTuple):
    left: int
    right: str


class Hostile(dict):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def keys(self) -> Any:
        raise RuntimeError("no")


def circle() -> list[Any]:
    found: list[Any] = [1]
    found.append({"again": found})
    return found


def tree() -> Node:
    root = Node("root")
    root.children.append(Node("leaf", [root]))
    return root


def ring() -> Model:
    model = Model(a=1)
    model.other = [model]
    return model


SHARED = [1]
RING = {"a": 1, "secret": "**********", "other": ["<Model that holds itself>"]}
AS_JSON: list[tuple[Any, Any]] = [
    (circle(), [1, {"again": "<list that holds itself>"}]),
    (tree(), {"name": "root", "children": [{"name": "leaf", "children": ["<Node that holds itself>"]}]}),
    (ring(), {"a": 1, "secret": "**********", "other": [RING]}),
    ([SHARED, SHARED], [[1], [1]]),
    ([math.nan, math.inf, -math.inf, 1.5], ["NaN", "Infinity", "-Infinity", 1.5]),
    ({math.nan: np.nan}, {"NaN": "NaN"}),
    (b"\x00\xff", "AP8="),
    ({"a", "b"} - {"b"}, ["a"]),
    (
        {7: 3, None: 2, (1, 2): 4, Colour.RED: 5, date(2024, 1, 2): 6},
        {"7": 3, "None": 2, "(1, 2)": 4, "red": 5, "2024-01-02": 6},
    ),
    (np.float64(1.5), 1.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([1.0, np.nan]), [1.0, "NaN"]),
    (np.array(5), 5),
    (np.float32("inf"), "Infinity"),
    (np.datetime64("2024-01-02"), "2024-01-02"),
    (Model(a=1), {"a": 1, "secret": "**********", "other": None}),
    (Pair(1, "a"), [1, "a"]),
    (Colour.RED, "red"),
    (Decimal("1.10"), "1.10"),
    (Path("/a"), "/a"),
    (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02T00:00:00Z"),
    (timedelta(seconds=90), "PT1M30S"),
    (OrderedDict(a=deque([1])), {"a": [1]}),
    ("bad \udc80 text", "bad \\udc80 text"),
    ({"\udc80": 1}, {"\\udc80": 1}),
    (Unshowable(), "<Unshowable whose repr raises RuntimeError>"),
    ([{"x": Unshowable()}], [{"x": "<Unshowable whose repr raises RuntimeError>"}]),
    ({Unshowable: 1}, {repr(Unshowable): 1}),
    (2**200, 2**200),
    (10**5000, hex(10**5000)),
    (object, "<class 'object'>"),
]


@pytest.mark.parametrize(("value", "form"), AS_JSON, ids=range(len(AS_JSON)))
def test_any_value_has_a_form_in_strict_json(value: Any, form: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = as_json(value)

    assert json.loads(text.encode(), parse_constant=refuse) == form


def test_what_is_too_deep_or_hostile_or_endless_is_told_of() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "<list>" in as_json(deep)
    assert isinstance(plain(Hostile(a=1)), (str, dict))
    assert "generator object" in plain(iter(int, 1) and (number for number in iter(int, 1)))
    assert "a" in plain(pd.DataFrame({"a": [1]}))
    while deep:
        deep = deep.pop()  # or taking it apart would be too deep as well


def test_a_repr_that_fails_is_told() -> None:
    assert safe_repr([1]) == "[1]"
    assert safe_repr([Unshowable()]) == "<list whose repr raises RuntimeError>"


def test_a_terminal_without_unicode_gets_json_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    printing.record({"a": "ü"}, "json")
    sys.stdout.flush()

    assert json.loads(raw.getvalue()) == {"a": "ü"}
