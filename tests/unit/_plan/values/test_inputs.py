from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypedDict, Union

import numpy as np
import pydantic
import pytest

from flyteray import TaskEnvironment
from flyteray._plan.values.inputs import bind, check_output
from flyteray._plan.values.type_hints import fits
from flyteray.errors import RuntimeDataValidationError
from flyteray.io import File

env = TaskEnvironment("calc")


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Model(pydantic.BaseModel):
    x: int


class Shape(TypedDict):
    x: int


class Speaks(Protocol):
    def speak(self) -> str: ...


UserId = NewType("UserId", int)


@env.task
def add(a: int, b: int = 1, *, note: str = "") -> int:
    return a + b


@env.task
def nothing() -> None: ...


def test_arguments_are_bound_by_position_and_name() -> None:
    assert bind(add, (1,), {}) == {"a": 1}
    assert bind(add, (1, 2), {"note": "x"}) == {"a": 1, "b": 2, "note": "x"}
    assert bind(nothing, (), {}) == {}


def test_keyword_only_arguments_may_be_given_by_position() -> None:
    assert bind(add, (1, 2, "x"), {}) == {"a": 1, "b": 2, "note": "x"}


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((), {}, ValueError, r"^Missing required inputs: a \(of task 'calc.add'\)"),
        ((1, 2, "x", 4), {}, ValueError, "takes 3 inputs .*got 4"),
        ((1,), {"c": 2}, TypeError, "no input 'c'. Its inputs: a, b, note"),
        ((1,), {"a": 2}, TypeError, "'a' twice"),
        (("1",), {}, TypeError, "^Type conversion failed for variable 'a' of .*expected int, got str: '1'"),
        ((1.0,), {}, TypeError, "expected int, got float: 1.0"),
        ((True,), {}, TypeError, "expected int, got bool: True"),
        ((1,), {"b": None}, TypeError, "expected int, got NoneType: None"),
    ],
)
def test_a_wrong_call_is_refused_with_what_was_wrong(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bind(add, args, kwargs)


def test_every_missing_input_is_named() -> None:
    @env.task
    def two(a: int, b: str) -> None: ...

    with pytest.raises(ValueError, match="Missing required inputs: a, b"):
        bind(two, (), {})


def test_a_default_may_be_given_even_if_it_does_not_fit() -> None:
    @env.task
    def loose(a: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert bind(loose, (None,), {}) == {"a": None}


def test_a_long_value_is_shortened_in_the_error() -> None:
    with pytest.raises(TypeError) as caught:
        bind(add, ("x" * 10_000,), {})

    assert len(str(caught.value)) < 300


def test_a_forgotten_await_is_pointed_out() -> None:
    async def number() -> int:
        return 1

    coroutine = number()
    with pytest.raises(TypeError, match="is an await missing"):
        bind(add, (coroutine,), {})

    coroutine.close()


@pytest.mark.parametrize("value", [np.int64(1), np.bool_(True), np.float32(1)])
def test_numpys_scalars_are_told_how_to_become_pythons(value: Any) -> None:
    with pytest.raises(TypeError, match=r"a numpy scalar: its \.item\(\) is one of Python's"):
        bind(add, (value,), {})


FITTING: list[tuple[Any, Any]] = [
    (int, 1),
    (float, 1.0),
    (str, "a"),
    (bool, True),
    (None, None),
    (object, 1),
    (Any, 1),
    (int | None, None),
    (Optional[int], 1),  # noqa: UP045 # the older spelling
    (Union[int, str], "a"),  # noqa: UP007 # likewise
    (Literal["a", 1], 1),
    (Colour, Colour.RED),
    (list, [1, "a"]),
    (list[int], [1, 2]),
    (list[list[int]], [[1], []]),
    (list[Point], [Point(1)]),
    (set[str], {"a"}),
    (dict, {1: 2}),
    (dict[str, float], {"a": 1.0}),
    (dict[str, Any], {"a": object()}),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (Sequence[int], [1]),
    (Callable[[int], int], abs),
    (type[int], int),
    (Point, Point(1)),
    (Model, Model(x=1)),
    (Shape, {"x": 1}),
    (Speaks, object()),
    (UserId, 1),
    (Annotated[int, "positive"], 1),
    (np.ndarray, np.zeros(2)),
    (np.ndarray[Any, np.dtype[np.float64]], np.zeros(2)),
    (float, np.float64(1)),
    (File, File(path="a")),
    (File[str], File(path="a")),
    ("not a type", 1),
]

NOT_FITTING: list[tuple[Any, Any]] = [
    (int, True),
    (int, 1.0),
    (float, 1),
    (int, np.float64(1)),
    (bool, 1),
    (str, b"a"),
    (None, 0),
    (int | None, "a"),
    (Literal["a"], "b"),
    (Literal[1], True),
    (Colour, "red"),
    (list, (1,)),
    (list[int], [1, "a"]),
    (list[Point], [{"x": 1}]),
    (dict[str, int], {1: 1}),
    (dict[str, int], {"a": 1.0}),
    (tuple[int, str], (1,)),
    (tuple[int, ...], (1, "a")),
    (Sequence[int], 1),
    (Point, {"x": 1}),
    (Model, {"x": 1}),
    (Shape, [1]),
    (UserId, "1"),
    (Annotated[int, "positive"], 1.0),
    (np.ndarray, [1.0]),
    (File, "a"),
    (File[str], "a"),
]


@pytest.mark.parametrize(("expected", "value"), FITTING, ids=range(len(FITTING)))
def test_values_that_fit(expected: Any, value: Any) -> None:
    assert fits(expected, value)


@pytest.mark.parametrize(("expected", "value"), NOT_FITTING, ids=range(len(NOT_FITTING)))
def test_values_that_do_not_fit(expected: Any, value: Any) -> None:
    assert not fits(expected, value)


def returning(annotation: Any) -> Any:
    def func() -> None: ...

    func.__annotations__["return"] = annotation
    return env.task(func)


@pytest.mark.parametrize(
    ("annotation", "value"), [(int, 1), (tuple[int, str], (1, "a")), (None, None), (Any, 1)]
)
def test_outputs_that_fit(annotation: Any, value: Any) -> None:
    check_output(returning(annotation), value)


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "1", "Output o0 of task 'calc.func': expected int, got str: '1'"),
        (None, 1, "expected None, got int: 1"),
        (tuple[int, str], (1, 2), "Output o1 .*expected str, got int: 2"),
        (tuple[int, str], (1,), r"Output o0..o1 .*expected 2 outputs, got 1"),
        (tuple[int, str], 1, "Output o0 .*got int: 1"),
    ],
)
def test_outputs_that_do_not_fit_are_named(annotation: Any, value: Any, words: str) -> None:
    with pytest.raises(RuntimeDataValidationError, match=words):
        check_output(returning(annotation), value)


def test_a_value_without_a_return_annotation_is_refused() -> None:
    with pytest.warns(UserWarning, match=r"silent\(\) returns a value and has no return annotation"):

        @env.task
        def silent(x: int):  # type: ignore[no-untyped-def] # that is the point
            return x

    check_output(silent, None)
    with pytest.raises(RuntimeDataValidationError, match=r"missing return annotation.*-> int"):
        check_output(silent, 1)
