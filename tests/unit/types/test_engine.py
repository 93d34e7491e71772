from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from flyteray._declare.transformer import transformers
from flyteray._plan.values.inputs import bind
from flyteray.types import FlytePickle, TypeEngine, TypeTransformer, TypeTransformerFailedError


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class PointTransformer(TypeTransformer[Point]):
    def __init__(self) -> None:
        super().__init__("point", Point)

    def get_literal_type(self, t: type[Point]) -> str:
        return "a number"

    def guess_python_type(self, literal_type: Any) -> type[Point]:
        if literal_type == "a number":
            return Point
        raise ValueError("unknown")

    async def to_literal(self, python_val: Point, python_type: type[Point], expected: Any) -> Any:
        return await TypeEngine.to_literal(python_val.x, int, TypeEngine.to_literal_type(int))

    async def to_python_value(self, lv: Any, expected_python_type: type[Point]) -> Point:
        return Point(await TypeEngine.to_python_value(lv, int))

    def to_html(self, python_val: Point, expected_python_type: type[Point]) -> str:
        return f"<b>{python_val.x}</b>"


class Bold:
    def to_html(self, python_value: Any) -> str:
        return f"<strong>{python_value}</strong>"


@pytest.fixture(autouse=True)
def own_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers(), "_by_type", transformers()._by_type.copy())
    monkeypatch.setattr(transformers(), "_loaded", False)


def there_and_back(value: Any, kind: Any) -> Any:
    async def travel() -> Any:
        literal = await TypeEngine.to_literal(value, kind, TypeEngine.to_literal_type(kind))
        return await TypeEngine.to_python_value(literal, kind)

    return asyncio.run(travel())


def test_values_go_there_and_back_by_their_transformers() -> None:
    TypeEngine.register(PointTransformer())

    assert there_and_back(Point(3), Point).x == 3
    assert there_and_back([1, 2], list[int]) == [1, 2]
    with pytest.raises(TypeTransformerFailedError, match="expected Point, got int"):
        there_and_back(3, Point)
    with pytest.raises(TypeTransformerFailedError, match=r"\[1\]: expected int, got str"):
        there_and_back([1, "2"], list[int])


def test_types_are_told_from_literal_types() -> None:
    TypeEngine.register(PointTransformer())

    assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(Point)) is Point
    assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(dict[str, int])) == dict[str, int]
    with pytest.raises(ValueError, match="No transformer knows the literal type 'other'"):
        TypeEngine.guess_python_type("other")


def test_a_type_has_one_transformer() -> None:
    first, second = PointTransformer(), PointTransformer()
    TypeEngine.register(first, additional_types=[Decimal])

    with pytest.raises(ValueError, match="Point has the transformer 'point': 'point' can't be registered"):
        TypeEngine.register(second)
    with pytest.raises(ValueError, match="int is one that flyteray knows by itself"):
        TypeEngine.register_additional_type(second, int)
    TypeEngine.register_additional_type(second, Point)
    assert TypeEngine.get_transformer(Point) is TypeEngine.get_transformer(Decimal) is first
    TypeEngine.register_additional_type(second, Point, override=True)
    assert TypeEngine.get_transformer(Point) is second
    assert {Point, Decimal} <= set(TypeEngine.get_available_transformers())


def test_values_are_shown() -> None:
    TypeEngine.register(PointTransformer())

    assert TypeEngine.to_html(Point(1), Point) == "<b>1</b>"
    assert TypeEngine.to_html(1, Annotated[int, Bold()]) == "<strong>1</strong>"
    assert TypeEngine.to_html("<a>", str) == "&lt;a&gt;"


def test_installed_packages_register_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    info = tmp_path / "points-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: points\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[flyte.plugins.types]\npoint = {__name__}:register_points\nbroken = {__name__}:missing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert TypeEngine.get_transformer(Point).name == "point"
    assert "test_engine:missing can't be used: AttributeError" in caplog.text


def register_points() -> None:
    TypeEngine.register(PointTransformer())


def test_any_value_fits_what_is_pickled() -> None:
    from flyteray import TaskEnvironment  # for this test alone

    @TaskEnvironment("pickled").task
    def take(x: FlytePickle, y: FlytePickle[np.ndarray]) -> None: ...  # type: ignore[type-arg]

    assert bind(take, (1, "any"), {}) == {"x": 1, "y": "any"}
