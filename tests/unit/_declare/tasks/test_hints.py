from __future__ import annotations

import contextlib
import functools
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Optional, Union  # named in strings

import pytest

from flyteray import TaskEnvironment
from flyteray._declare.tasks.returns import returned
from tests.unit._declare.tasks.annotated_elsewhere import logged, repeated

if TYPE_CHECKING:
    from decimal import Decimal

    import pandas as pd

env = TaskEnvironment("read")


@dataclass
class Config:
    rate: float


def types(func: Callable[..., Any]) -> dict[str, Any]:
    interface = env.task(func).interface
    return {name: each.type for name, each in interface.inputs.items()} | {"return": interface.returns}


def train(config: Config, names: dict[str, list[Config]] | None = None) -> tuple[Config, int]:
    return config, 1


async def fit(config: Config) -> Config:
    return config


TRAIN = {"config": Config, "names": dict[str, list[Config]] | None, "return": tuple[Config, int]}


def test_annotations_are_those_of_what_a_decorator_of_another_module_wraps() -> None:
    assert types(logged(train)) == TRAIN
    assert types(logged(logged(train))) == TRAIN
    assert types(repeated(2)(fit)) == {"config": Config, "return": Config}
    assert env.task(repeated(2)(fit)).is_async


def test_a_cached_function_a_partial_and_a_method_are_tasks() -> None:
    class Trainer:
        def train(self, config: Config) -> float:
            return config.rate

    cached = env.task(functools.lru_cache(train))
    partial = env.task(functools.partial(train, names={}))
    method = env.task(Trainer().train)

    assert (cached.name, partial.name, method.name) == ("read.train",) * 3
    assert cached.interface.returns == TRAIN["return"]
    assert partial.interface.inputs["names"].required is False
    assert method(Config(0.5)) == 0.5
    assert list(method.interface.inputs) == ["config"]


def test_local_names_of_the_functions_and_classes_around_are_found() -> None:
    @dataclass
    class Local:
        x: int

    def outer() -> Callable[..., Any]:
        class Inner(NamedTuple):
            left: int
            right: Local

        class Holder:
            class Nested: ...

            @staticmethod
            def made(a: Inner, b: list[Local], c: Nested) -> Inner: ...  # type: ignore[name-defined, empty-body]

            task = env.task(made)

        found: Callable[..., Any] = Holder.task  # type: ignore[assignment]
        return found

    interface = outer().interface  # type: ignore[attr-defined]
    assert [each.type.__name__ for each in interface.inputs.values()] == ["Inner", "list", "Nested"]
    assert interface.inputs["b"].type == list[Local]
    assert list(interface.outputs) == ["o0", "o1"]


def test_a_nested_function_that_calls_itself_is_a_task() -> None:
    class Count:
        left: int

    @env.task
    def down(count: Count) -> int:
        return 0 if count.left == 0 else down(count)

    assert down.interface.inputs["count"].type is Count


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("list[Config]", list[Config]),
        ("Optional['Config']", Optional[Config]),  # noqa: UP045 # as users write it
        (Optional["Config"], Optional[Config]),  # noqa: UP045
        ("Union[int, 'list[Config]']", Union[int, list[Config]]),  # noqa: UP007
        ("int | Config | None", int | Config | None),
        ("Annotated[int, 'positive']", Annotated[int, "positive"]),
        ("typing.Dict[str, typing.List[Config]]", typing.Dict[str, typing.List[Config]]),  # noqa: UP006
        ("None", type(None)),
        (list["Config"], list[Config]),  # type: ignore[type-arg]
    ],
)
def test_a_type_is_found_however_it_is_written(annotation: Any, expected: Any) -> None:
    def func(x: Any) -> None: ...

    func.__annotations__["x"] = annotation
    assert types(func)["x"] == expected


@pytest.mark.parametrize(
    ("annotation", "expected", "words"),
    [
        ("pd.DataFrame", Any, "'x' is pd.DataFrame: 'pd' can't be found"),
        ("dict[str, Decimal] | None", Optional[dict[str, Any]], "'Decimal' can't be found"),  # noqa: UP045
        ("dict[Decimal, Missing]", dict[Any, Any], "'Decimal', 'Missing' can't be found"),
        ("the number of rounds", Any, "SyntaxError"),
        ("typing.NoSuchThing", Any, "NoSuchThing"),
        ("1 / 0", Any, "ZeroDivisionError"),
    ],
)
def test_what_can_not_be_found_is_any_and_all_else_keeps_its_type(
    annotation: str, expected: Any, words: str
) -> None:
    def func(x: Any, y: int) -> Config: ...  # type: ignore[empty-body]

    func.__annotations__["x"] = annotation
    task = env.task(func)
    with pytest.warns(UserWarning, match="can't be found|Error") as told:
        interface = task.interface

    assert interface.inputs["x"].type == expected
    assert interface.inputs["y"].type is int
    assert interface.returns is Config
    assert len(told) == 1
    assert words in str(told[0].message)


def test_types_for_checkers_only_are_named_as_returns_too() -> None:
    def func(x: pd.DataFrame) -> Decimal: ...  # type: ignore[empty-body]

    task = env.task(func)
    with pytest.warns(UserWarning, match="can't be found|Error") as told:
        assert (task.interface.inputs["x"].type, task.interface.returns) == (Any, Any)
    assert ["pd" in str(each.message) for each in told] == [True, False]
    assert "return type is Decimal" in str(told[1].message)


def with_context() -> Any:
    with contextlib.nullcontext():
        compute()
    return compute()


def in_try(x: int) -> Any:
    try:
        return x
    finally:
        compute()


def compute() -> int:
    return 1


def nothing(x: int) -> None:
    if x:
        return
    for _ in range(x):
        compute()
    with contextlib.nullcontext():
        return
    try:
        compute()
    finally:
        compute()


def early(x: int) -> Any:
    if x:
        return None
    return x + 1


def numbers() -> Iterator[int]:
    yield 1


def defines() -> None:
    def inner() -> int:
        return 1

    class Local:
        def method(self) -> int:
            return 2

    compute()


async def awaited() -> Any:
    return await awaited()


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (compute, "value"),
        (early, "value"),
        (in_try, "value"),
        (numbers, "value"),
        (with_context, "maybe"),
        (awaited, "maybe"),
        (nothing, "nothing"),
        (lambda: compute(), "maybe"),
        (defines, "nothing"),
        (eval("lambda x: x"), "maybe"),
    ],
    ids=range(10),
)
def test_what_a_function_returns_is_seen_before_it_is_called(func: Callable[..., Any], expected: str) -> None:
    assert returned(func) == expected


def test_a_value_without_a_return_annotation_is_told_at_the_declaration() -> None:
    def silent(x: int):  # type: ignore[no-untyped-def] # that is the point
        return x

    def quiet(x: int):  # type: ignore[no-untyped-def]
        print(x)

    with pytest.warns(
        UserWarning, match=r"Task 'read.silent': silent\(\) returns a value and has no return"
    ) as told:
        env.task(logged(silent))
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.task(quiet)
