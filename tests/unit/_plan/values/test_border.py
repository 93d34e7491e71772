"""Tables and values of users' types at the border of a task, in the same process and on their way to another."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import flyteray
from flyteray import TaskEnvironment
from flyteray._declare.context import TaskContext, task_context
from flyteray._declare.facts import ActionID
from flyteray._declare.transformer import transformers
from flyteray._plan.values.digest import digest
from flyteray._plan.values.inputs import bind, check_output
from flyteray.errors import RestrictedTypeError, RuntimeDataValidationError
from flyteray.io import DataFrame, HashFunction
from flyteray.io.extend import DataFrameDecoder, DataFrameEncoder, DataFrameTransformerEngine
from flyteray.io.extend.handlers import handlers
from flyteray.types import TypeEngine, TypeTransformer, TypeTransformerFailedError

env = TaskEnvironment("border")
PEOPLE = pd.DataFrame({"name": ["Ada", "Bob"], "age": [36, 41]})


@pytest.fixture(autouse=True)
def raw_data(tmp_path: Path) -> Iterator[None]:
    action = ActionID(name="a0", run_name="r")
    token = task_context.set(TaskContext(action=action, mode="remote", raw_data_path=str(tmp_path / "raw")))
    yield
    task_context.reset(token)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transformers of this test's own types, as a user's module would register them; gone after the test."""
    monkeypatch.setattr(transformers(), "_by_type", transformers()._by_type.copy())
    for name in ("_encoders", "_decoders", "formats"):
        monkeypatch.setattr(handlers(), name, getattr(handlers(), name).copy())
    TypeEngine.register(CelsiusTransformer())
    TypeEngine.register_restricted_type("socket", Socket)
    DataFrameTransformerEngine.register(LinesEncoder())
    DataFrameTransformerEngine.register(LinesDecoder())


def arrived(value: Any) -> Any:
    """The value as it is in the process that it is sent to."""
    return pickle.loads(pickle.dumps(value))


def given(annotation: Any, value: Any, here: bool) -> Any:
    """What a task's function is given for an input."""

    @env.task
    def take(x: annotation) -> None: ...

    bound = bind(take, (), {"x": value}, here=here)
    return (bound if here else arrived(bound))["x"]


def returned(annotation: Any, value: Any, here: bool) -> Any:
    """What a task's caller gets."""

    @env.task
    def give() -> annotation: ...

    checked = check_output(give, value, here=here)
    return checked if here else arrived(checked)


class Celsius:
    """It can't be pickled: only its transformer makes it travel."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __repr__(self) -> str:  # in the names of tests, which have to be the same in every process
        return f"Celsius({self.degrees})"

    def __reduce__(self) -> Any:
        raise TypeError("a Celsius does not pickle")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and self.degrees == other.degrees


class Warm(Celsius): ...


class CelsiusTransformer(TypeTransformer[Celsius]):
    def __init__(self) -> None:
        super().__init__("celsius", Celsius)

    def get_literal_type(self, t: type[Celsius]) -> str:
        return "degrees"

    async def to_literal(self, python_val: Celsius, python_type: type[Celsius], expected: str) -> Any:
        if python_val.degrees < -273:
            raise ValueError("colder than anything")
        return {expected: python_val.degrees}

    async def to_python_value(self, lv: Any, expected_python_type: type[Celsius]) -> Celsius:
        return Celsius(lv["degrees"])


class Doubling(CelsiusTransformer):
    async def to_python_value(self, lv: Any, expected_python_type: type[Celsius]) -> Celsius:
        return Celsius(2 * lv["degrees"])


class Socket: ...


class Lines:
    """A frame of a user's own class."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __reduce__(self) -> Any:
        raise TypeError("a Lines does not pickle")


class LinesEncoder(DataFrameEncoder[Lines]):
    def __init__(self) -> None:
        super().__init__(Lines, supported_format="lines")

    async def encode(self, dataframe: DataFrame, structured_dataset_type: Any) -> Any:
        assert dataframe.uri is not None
        assert structured_dataset_type.format == "lines"
        Path(dataframe.uri).parent.mkdir(parents=True)
        Path(dataframe.uri).write_text("\n".join(dataframe.val.lines))
        return DataFrame(uri=dataframe.uri)


class LinesDecoder(DataFrameDecoder[Lines]):
    def __init__(self) -> None:
        super().__init__(Lines, supported_format="lines")

    async def decode(self, flyte_value: Any, current_task_metadata: Any) -> Lines:
        assert flyte_value.metadata.structured_dataset_type.format == "lines"
        return Lines(Path(flyte_value.uri).read_text().split("\n"))


class PiecesDecoder(DataFrameDecoder[Lines]):
    def __init__(self) -> None:
        super().__init__(Lines, supported_format="lines")

    def decode(self, flyte_value: Any, current_task_metadata: Any) -> Any:
        async def pieces() -> AsyncIterator[Lines]:
            for line in Path(flyte_value.uri).read_text().split("\n"):
                yield Lines([line])

        return pieces()


@dataclass
class Columns:
    name: str


here_or_there = pytest.mark.parametrize("here", [True, False], ids=["here", "travels"])


@here_or_there
@pytest.mark.parametrize("pass_on", [given, returned])
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (DataFrame, PEOPLE),
        (DataFrame, pa.Table.from_pandas(PEOPLE)),
        (DataFrame, DataFrame.wrap_df(PEOPLE)),
        (DataFrame | None, PEOPLE),
        (list[DataFrame], [PEOPLE]),
        (dict[str, DataFrame], {"a": PEOPLE}),
    ],
    ids=str,
)
def test_a_frame_is_a_table(pass_on: Any, annotation: Any, value: Any, here: bool) -> None:
    found = pass_on(annotation, value, here)

    inner = found[0] if isinstance(found, list) else found["a"] if isinstance(found, dict) else found
    assert isinstance(inner, DataFrame)
    assert inner.open(pd.DataFrame).all_sync().equals(PEOPLE)


@here_or_there
@pytest.mark.parametrize("pass_on", [given, returned])
@pytest.mark.parametrize("kind", [pd.DataFrame, pa.Table, pl.DataFrame], ids=["pandas", "arrow", "polars"])
def test_a_table_is_the_frame_that_is_annotated(pass_on: Any, kind: Any, here: bool) -> None:
    for table in (DataFrame.wrap_df(PEOPLE), DataFrame.from_local_sync(PEOPLE)):
        found = pass_on(kind, table, here)

        assert isinstance(found, kind)
        assert DataFrame.wrap_df(found).open(pd.DataFrame).all_sync().equals(PEOPLE)


@here_or_there
@pytest.mark.parametrize("pass_on", [given, returned])
@pytest.mark.parametrize(
    "columns", [{"name": str}, OrderedDict(name=str), Columns, pa.schema([("name", pa.string())])], ids=str
)
@pytest.mark.parametrize("kind", [pd.DataFrame, DataFrame], ids=["frame", "table"])
def test_only_the_declared_columns_arrive(pass_on: Any, columns: Any, kind: Any, here: bool) -> None:
    for value in (PEOPLE, DataFrame.wrap_df(PEOPLE), DataFrame.from_local_sync(PEOPLE)):
        found = pass_on(Annotated[kind, columns], value, here)

        frame = found.open(pd.DataFrame).all_sync() if kind is DataFrame else found
        assert frame.to_dict("list") == {"name": ["Ada", "Bob"]}


@here_or_there
def test_the_declared_format_is_how_a_table_is_written(here: bool) -> None:
    found = returned(Annotated[DataFrame, "csv"], PEOPLE, here)
    frame = returned(Annotated[pd.DataFrame, "csv"], PEOPLE, here)

    assert (found.format, found.val) == ("csv", None)
    assert Path(found.uri).read_text().startswith("name,age\n")
    assert frame.equals(PEOPLE)


def test_the_declared_hash_identifies_a_table() -> None:
    annotation = Annotated[DataFrame, HashFunction.from_fn(lambda frame: str(len(frame)))]

    assert returned(annotation, PEOPLE, here=True).hash == "2"


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (DataFrame, 5, "expected flyte.io.DataFrame, got int: 5"),
        (pd.DataFrame, 5, "expected pandas.DataFrame, got int: 5"),
        (pd.DataFrame, pa.table({}), "expected pandas.DataFrame, got pyarrow.Table"),
        (pa.Table, PEOPLE, "expected pyarrow.Table, got pandas.DataFrame"),
        (list[DataFrame], [PEOPLE, 5], "x[1]: expected flyte.io.DataFrame, got int: 5"),
        (Annotated[pd.DataFrame, {"nam": str}], PEOPLE, "there is no column 'nam'. The columns: name, age"),
        (Annotated[DataFrame, {"nam": str}], PEOPLE, "there is no column 'nam'"),
        (Annotated[pd.DataFrame, "orc"], PEOPLE, "can't be written or read as 'orc'"),
        (Annotated[pd.DataFrame, "csv", "parquet"], PEOPLE, "says twice in which format"),
        (Celsius, 5, "expected Celsius, got int: 5"),
        (list[Celsius], [Celsius(1), "x"], "x[1]: expected Celsius, got str: 'x'"),
        (Celsius, Celsius(-300), "celsius refuses it: ValueError: colder than anything"),
        (Lines, "a line", "expected tests.unit._plan.values.test_border.Lines, got str: 'a line'"),
    ],
)
def test_what_does_not_fit_is_told(annotation: Any, value: Any, problem: str) -> None:
    with pytest.raises(TypeTransformerFailedError, match=re.escape(problem)) as refused:
        given(annotation, value, here=False)
    with pytest.raises(RuntimeDataValidationError, match=re.escape(problem.replace("x[1]", "o0[1]"))):
        returned(annotation, value, here=False)
    assert isinstance(refused.value, TypeError)
    assert isinstance(refused.value, ValueError)


@here_or_there
@pytest.mark.parametrize("pass_on", [given, returned])
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Celsius, Celsius(1)),
        (Celsius | None, Celsius(2)),
        (Celsius | None, None),
        (list[Celsius], [Celsius(1), Celsius(2)]),
        (dict[str, Celsius], {"a": Celsius(1)}),
        (tuple[Celsius, int], (Celsius(1), 2)),
        (Literal["a"] | Celsius, "a"),
    ],
    ids=str,
)
def test_a_value_travels_as_its_transformer_has_it(
    pass_on: Any, annotation: Any, value: Any, here: bool
) -> None:
    assert pass_on(annotation, value, here) == value


@here_or_there
def test_an_annotation_may_bring_its_transformer(here: bool) -> None:
    assert given(Annotated[Celsius, Doubling()], Celsius(2), here) == Celsius(4)


@here_or_there
def test_a_transformer_is_that_of_subclasses_too(here: bool) -> None:
    assert given(Warm, Warm(30), here) == Celsius(30)


@pytest.mark.parametrize("annotation", [Socket, list[Socket], Socket | None])
def test_a_restricted_type_is_refused(annotation: Any) -> None:
    value = [Socket()] if annotation == list[Socket] else Socket()
    with pytest.raises(RestrictedTypeError, match="Tasks can't take or return Socket: socket is restricted"):
        given(annotation, value, here=True)


@here_or_there
@pytest.mark.parametrize("pass_on", [given, returned])
def test_frames_of_a_users_class_go_through_their_handlers(pass_on: Any, here: bool) -> None:
    assert pass_on(Lines, Lines(["a", "b"]), here).lines == ["a", "b"]
    table = pass_on(DataFrame, Lines(["a", "b"]), here)
    assert (table.format, table.val) == ("lines", None)
    assert table.open(Lines).all_sync().lines == ["a", "b"]


def test_a_decoder_may_give_pieces() -> None:
    import asyncio  # for this test alone

    DataFrameTransformerEngine.register(PiecesDecoder(), override=True)
    table = returned(DataFrame, Lines(["a", "b"]), here=True)

    async def lines() -> list[str]:
        return [piece.lines[0] async for piece in table.open(Lines).iter()]

    assert asyncio.run(lines()) == ["a", "b"]
    with pytest.raises(ValueError, match="gives it by pieces"):
        table.open(Lines).all_sync()


def test_handlers_are_registered_once() -> None:
    with pytest.raises(ValueError, match="LinesEncoder is registered for Lines, protocol any, format lines"):
        DataFrameTransformerEngine.register(LinesEncoder())
    with pytest.raises(TypeError, match="5 is no handler of frames"):
        DataFrameTransformerEngine.register(5)  # type: ignore[arg-type]
    assert isinstance(DataFrameTransformerEngine.get_encoder(Lines, "file", "lines"), LinesEncoder)
    assert isinstance(DataFrameTransformerEngine.get_decoder(Lines, "s3", "lines"), LinesDecoder)
    with pytest.raises(ValueError, match="No handler is registered for DataFrame, protocol 's3'"):
        DataFrameTransformerEngine.get_decoder(pd.DataFrame, "s3", "parquet")


def test_what_is_on_its_way_has_the_digest_of_its_content() -> None:
    @env.task
    def take(x: Celsius) -> None: ...

    one, same, other = (bind(take, (), {"x": Celsius(degrees)}) for degrees in (1, 1, 2))

    assert digest(one) == digest(same) != digest(other)
    assert digest(DataFrame.wrap_df(PEOPLE)) == digest(DataFrame.wrap_df(PEOPLE.copy()))
    assert digest(DataFrame(uri="a", hash="x")) == digest(DataFrame(uri="b", hash="x"))


def test_a_local_run_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))

    @env.task
    def warmer(x: Celsius, people: Annotated[DataFrame, {"age": int}]) -> Annotated[Celsius, Doubling()]:
        return Celsius(x.degrees + sum(people.open(pd.DataFrame).all_sync()["age"]))

    run = flyteray.with_runcontext(mode="local").run(warmer, Celsius(1), PEOPLE)

    assert run.outputs()[0] == Celsius(2 * (1 + 36 + 41))
