from __future__ import annotations

import datetime
import decimal
import enum
import typing
import uuid
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import numpy as np
import pydantic
import pytest
from typing_extensions import NotRequired

import flyteray as flyte
from flyteray._plan.values.conversion import Unfit, converted
from flyteray.errors import RuntimeDataValidationError, RuntimeUserError

env = flyte.TaskEnvironment("converts")
T = TypeVar("T")


@dataclass
class Inner:
    a: int
    b: str = "x"


@dataclass
class Config:
    rate: float
    rounds: int = 1
    inner: Inner | None = None
    items: list[Inner] = field(default_factory=list)


@dataclass
class Checked:
    share: float
    scale: InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        if self.share * scale > 1:
            raise ValueError("share is above 1")


@dataclass
class Box(Generic[T]):
    content: T


class Model(pydantic.BaseModel):
    a: int
    b: float = 1.0
    names: list[str] = []


class Names(pydantic.RootModel[list[str]]):
    pass


@pydantic.dataclasses.dataclass
class Validated:
    a: int


class Settings(TypedDict):
    a: int
    inner: NotRequired[Inner]


class Pair(NamedTuple):
    left: int
    right: Inner = Inner(0)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


ConfigAlias = NewType("ConfigAlias", Config)

MADE: list[tuple[Any, Any, Any]] = [
    (Config, {"rate": 0.1}, Config(0.1)),
    (
        Config,
        {"rate": 0.1, "inner": {"a": 1}, "items": [{"a": 2}, Inner(3)]},
        Config(0.1, 1, Inner(1), [Inner(2), Inner(3)]),
    ),
    (ConfigAlias, {"rate": 0.1}, Config(0.1)),
    (Annotated[Config, "doc"], {"rate": 0.1}, Config(0.1)),
    (list[Config], [{"rate": 0.1}, Config(0.2)], [Config(0.1), Config(0.2)]),
    (dict[str, Config], {"k": {"rate": 0.1}}, {"k": Config(0.1)}),
    (tuple[Config, ...], [{"rate": 0.1}], (Config(0.1),)),
    (Optional[Config], {"rate": 0.1}, Config(0.1)),  # noqa: UP045
    (Config | None, None, None),
    (Union[int, Config], {"rate": 0.1}, Config(0.1)),  # noqa: UP007
    (Config | Model, {"a": 1}, Model(a=1)),
    (dict[str, int] | Model, {"a": 1}, {"a": 1}),
    (Checked, {"share": 0.5, "scale": 2}, Checked(0.5, 2)),
    (Box[Any], {"content": 1}, Box(1)),
    (Model, {"a": "1", "c": 3}, Model(a=1)),  # what pydantic takes
    (list[Model], [{"a": 1}], [Model(a=1)]),
    (Validated, {"a": "1"}, Validated(1)),
    (Names, ["a"], Names(["a"])),
    (Settings, {"a": 1, "inner": {"a": 2}}, {"a": 1, "inner": Inner(2)}),
    (list[Settings], [{"a": 1}], [{"a": 1}]),
    (Pair, (1, {"a": 2}), Pair(1, Inner(2))),
    (Pair, [1], Pair(1)),
    (Pair, {"left": 1}, Pair(1)),
    (Colour, "RED", Colour.RED),
    (Colour, "blue", Colour.BLUE),
    (list[Colour], ["RED", Colour.BLUE], [Colour.RED, Colour.BLUE]),
    (dict[Colour, int], {"RED": 1}, {Colour.RED: 1}),
    (tuple[int, str], [1, "x"], (1, "x")),
    (set[int], [1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (datetime.date, datetime.datetime(2024, 1, 2, 3), datetime.date(2024, 1, 2)),
    (Path, "a/b", Path("a/b")),
    (list[Path], ["a"], [Path("a")]),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
]


@pytest.mark.parametrize(("expected", "given", "made"), MADE, ids=range(len(MADE)))
def test_a_value_in_another_form_becomes_what_is_annotated(expected: Any, given: Any, made: Any) -> None:
    result = converted(expected, given)

    assert result == made
    assert type(result) is type(made)


@pytest.mark.parametrize(
    ("expected", "given", "words"),
    [
        (Config, {"rate": 1}, "v.rate: expected float, got int: 1"),
        (Config, {"rounds": 1}, "v.rate: is missing"),
        (
            Config,
            {"rate": 0.1, "rat": 1},
            "v.rat: Config has no such field. Its fields: rate, rounds, inner, items",
        ),
        (
            Config,
            {"rate": "x", "rounds": 1.5},
            "v.rate: expected float, got str: 'x'; v.rounds: expected int, got",
        ),
        (Config, {"rate": 0.1, "items": [{"a": 1}, {"a": "2"}]}, "v.items[1].a: expected int, got str: '2'"),
        (Config, {"rate": 0.1, "inner": {"a": "x"}}, "v.inner.a: expected int"),
        (list[Config], [{"rate": 0.1}, {"rate": "x"}], "v[1].rate: expected float"),
        (dict[str, Config], {"k": {}}, "v['k'].rate: is missing"),
        (Config | None, {"rate": "x"}, "v.rate: expected float"),
        (Config | Model, {"z": 1}, "Config | .*Model, got dict: {'z': 1}"),
        (Config, 5, "expected Config, got int: 5"),
        (Checked, {"share": 5.0}, "Checked refuses it: ValueError: share is above 1"),
        (Model, {"a": "x"}, "v.a: Input should be a valid integer, .*got str: 'x'"),
        (Model, {"a": 1, "names": [1]}, r"v.names[0]: Input should be a valid string, got int: 1"),
        (Model, {}, "v.a: Field required"),
        (Settings, {}, "v.a: is missing"),
        (Settings, {"a": "x"}, "v.a: expected int, got str: 'x'"),
        (list[Settings], [{"a": 1}, {"a": 1, "inner": {}}], "v[1].inner.a: is missing"),
        (Pair, (1, Inner(1), 3), "expected 2 values for Pair, got 3"),
        (Pair, ("x",), "v.left: expected int"),
        (Colour, "GREEN", "str: 'GREEN' is no Colour. Its members: RED, BLUE"),
        (list[Colour], ["RED", 1], "v[1]: expected Colour, got int: 1"),
        (decimal.Decimal, "much", "Decimal refuses it"),
        (tuple[int, str], [1], r"expected 2 values for tuple[int, str], got 1"),
        (list[int], (1,), r"expected list[int], got tuple: (1,)"),
        (list[int], np.ones(2), r"expected list[int], got ndarray"),
    ],
)
def test_what_does_not_fit_is_told_by_field(expected: Any, given: Any, words: str) -> None:
    with pytest.raises(Unfit) as caught:
        converted(expected, given)

    for part in words.split(".*"):
        assert part in caught.value.told("v")


def test_what_fits_is_the_same_object() -> None:
    value = [Config(0.1), Config(0.2)]
    assert converted(list[Config], value) is value
    frame = np.ones(3)
    assert converted(np.ndarray, frame) is frame


def test_bare_containers_of_typing_take_any_of_their_kind() -> None:
    assert converted(typing.List, [1, "a"]) == [1, "a"]  # noqa: UP006
    assert converted(typing.Dict, {1: 2}) == {1: 2}  # noqa: UP006


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_shows_what_can_not_show_itself() -> None:
    with pytest.raises(Unfit) as caught:
        converted(int, [Unshowable()])
    assert "expected int, got list: [<Unshowable" in caught.value.told("v")
    with pytest.raises(Unfit) as caught:
        converted(str, 10**5000)
    assert "expected str, got int" in caught.value.told("v")


@env.task
def rate_of(config: Config, mode: Literal["a", "b"] = "a") -> float:
    return config.rate


@env.task
def made(rate: Any) -> Config:
    return {"rate": rate}  # type: ignore[return-value] # as users do


@env.task
def several() -> tuple[Config, list[Model]]:
    return {"rate": 1.0}, [{"a": 1}]  # type: ignore[return-value, list-item]


@env.task
async def parent() -> list[Any]:
    return [await rate_of.aio({"rate": 0.5}), await made.aio(0.25)]  # type: ignore[arg-type]


def test_local_runs_convert_inputs_outputs_and_those_of_children() -> None:
    local = flyte.with_runcontext(mode="local")

    assert local.run(rate_of, {"rate": 0.5}).outputs()[0] == 0.5
    assert local.run(made, 0.5).outputs()[0] == Config(0.5)
    assert local.run(several).outputs() == (Config(1.0), [Model(a=1)])
    assert local.run(parent).outputs()[0] == [0.5, Config(0.25)]
    with pytest.raises(
        TypeError, match=r"variable 'config' of task 'converts.rate_of': config.rate: expected float"
    ):
        local.run(rate_of, config={"rate": "fast"})
    with pytest.raises(
        RuntimeDataValidationError, match=r"Output o0 of task 'converts.made': o0.rate: expected"
    ):
        local.run(made, "fast")


def test_a_run_without_a_return_annotation_is_refused_before_it_starts() -> None:
    ran = []

    def trains(x: int):  # type: ignore[no-untyped-def]
        ran.append(x)
        with open("/dev/null"):
            model = {"x": x}
            return model  # noqa: RET504

    with pytest.warns(UserWarning, match="trains"):
        task = env.task(trains)
    with pytest.raises(RuntimeUserError, match=r"missing return annotation.*-> Any"):
        flyte.with_runcontext(mode="local").run(task, 1)
    assert ran == []
