from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

import tests.unit._plan.cache.test_classes as here
from flyteray._plan.cache.classes import changed, shapes


class Colour(enum.Enum):
    RED = 1


@dataclass
class Inner:
    x: int


@dataclass
class Outer:
    inner: list[Inner]
    colour: Colour | None = None


class Model(BaseModel):
    outer: Outer


class Pair(NamedTuple):
    a: int
    b: Inner


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


def _other(name: str) -> type:
    class Longer:
        def __init__(self, x: int) -> None:
            self.x = x
            self.y = x

    @dataclass
    class Renamed:
        z: int

    return {
        "Colour": enum.Enum("Colour", {"RED": 2}),
        "Inner": Renamed,
        "Outer": Renamed,
        "Model": type("Model", (BaseModel,), {"__annotations__": {"outer": int}}),
        "Pair": NamedTuple("Pair", [("a", str), ("b", int)]),
        "Plain": Longer,
    }[name]


def test_the_classes_of_an_annotation_are_those_of_its_parts_and_fields() -> None:
    found = shapes([dict[str, Model], Pair | None])

    assert {name.partition(":")[2] for name in found} == {"Model", "Outer", "Inner", "Colour", "Pair"}


def test_what_packages_define_is_theirs_to_read_again() -> None:
    assert shapes([pd.DataFrame, np.ndarray, list[int], Any, None]) == {}


@pytest.mark.parametrize("kind", [Colour, Inner, Outer, Model, Pair, Plain])
def test_a_class_that_has_other_fields_has_changed(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shapes([kind])
    assert changed(known) is None

    monkeypatch.setattr(here, kind.__name__, _other(kind.__name__))

    assert f"class {kind.__name__} of module {__name__} has changed" in str(changed(known))


def test_a_class_that_is_gone_is_told() -> None:
    assert "can't be found" in str(changed({f"{__name__}:Gone": ""}))
    assert "can't be found" in str(changed({"no_such_module_here:Gone": ""}))
