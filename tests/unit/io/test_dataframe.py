from __future__ import annotations

import asyncio
import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest

from flyteray._declare.context import TaskContext, task_context
from flyteray._declare.facts import ActionID
from flyteray.io import DataFrame, HashFunction
from flyteray.io.frames import ROWS

PEOPLE = pd.DataFrame({"name": ["Ada", "Bob"], "age": [36, 41]})
TABLE = pa.table({"name": ["Ada", "Bob"], "age": [36, 41]})
KINDS = [pd.DataFrame, pa.Table, pl.DataFrame]


@pytest.fixture(autouse=True)
def raw_data(tmp_path: Path) -> Iterator[Path]:
    """The data folder of a task."""
    action = ActionID(name="a0", run_name="r")
    token = task_context.set(TaskContext(action=action, mode="remote", raw_data_path=str(tmp_path / "raw")))
    yield tmp_path / "raw"
    task_context.reset(token)


def names_of(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"


def rows(frame: Any) -> list[dict[str, Any]]:
    if isinstance(frame, pd.DataFrame):
        return frame.to_dict("records")  # type: ignore[return-value]
    return list(frame.to_pylist() if isinstance(frame, pa.Table) else frame.to_dicts())


EXPECTED = rows(TABLE)


@pytest.mark.parametrize("kind", KINDS, ids=["pandas", "arrow", "polars"])
@pytest.mark.parametrize("frame", [PEOPLE, TABLE, pl.DataFrame(PEOPLE), pl.LazyFrame(PEOPLE)], ids=names_of)
def test_a_frame_in_memory_is_read_as_that_of_any_library(frame: Any, kind: type) -> None:
    table = DataFrame.wrap_df(frame)

    assert table.uri is None
    assert table.val is frame
    found = table.open(kind).all_sync()
    assert isinstance(found, kind)
    assert rows(found) == EXPECTED


@pytest.mark.parametrize("kind", KINDS, ids=["pandas", "arrow", "polars"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("frame", [PEOPLE, TABLE, pl.DataFrame(PEOPLE)], ids=names_of)
def test_a_stored_frame_is_read_as_that_of_any_library(
    frame: Any, suffix: str, kind: type, tmp_path: Path
) -> None:
    table = DataFrame.from_local_sync(frame, remote_destination=f"{tmp_path}/people.{suffix}")

    assert (table.uri, table.format, table.val) == (f"{tmp_path}/people.{suffix}", suffix, None)
    found = table.open(kind).all_sync()
    assert isinstance(found, kind)
    assert rows(found) == EXPECTED


def test_what_is_stored_goes_to_the_data_of_the_task_as_parquet(raw_data: Path) -> None:
    table = DataFrame.from_local_sync(PEOPLE)

    assert table.uri is not None
    assert Path(table.uri).is_relative_to(raw_data)
    assert rows(pd.read_parquet(table.uri)) == EXPECTED


def test_the_index_of_pandas_is_kept() -> None:
    frame = PEOPLE.set_index("name")

    assert DataFrame.from_local_sync(frame).open(pd.DataFrame).all_sync().equals(frame)


def test_a_table_is_passed_on_with_its_frame_or_by_its_place() -> None:
    in_memory = pickle.loads(pickle.dumps(DataFrame.wrap_df(PEOPLE)))
    stored = pickle.loads(pickle.dumps(DataFrame.from_local_sync(PEOPLE)))

    assert in_memory.val.equals(PEOPLE)
    assert stored.val is None
    assert stored.open(pd.DataFrame).all_sync().equals(PEOPLE)


def test_a_frame_that_is_wrapped_for_a_place_is_written_there(tmp_path: Path) -> None:
    table = DataFrame.wrap_df(PEOPLE, uri=f"{tmp_path}/x.csv")

    assert Path(f"{tmp_path}/x.csv").read_text() == "name,age\nAda,36\nBob,41\n"
    assert table.format == "csv"
    assert DataFrame.from_df(uri=table.uri).open(pd.DataFrame).all_sync().equals(PEOPLE)
    assert DataFrame.from_df(table) is table


def test_a_folder_of_files_is_one_table(tmp_path: Path) -> None:
    for number in range(2):
        DataFrame.from_local_sync(PEOPLE, remote_destination=f"{tmp_path}/all/part-{number}.parquet")
    (tmp_path / "all/_SUCCESS").touch()
    for kind in KINDS:
        found = DataFrame.from_existing_remote(f"{tmp_path}/all").open(kind).all_sync()
        assert rows(found) == EXPECTED * 2


def test_a_folder_of_csv_files_is_one_table(tmp_path: Path) -> None:
    for number in range(2):
        DataFrame.from_local_sync(PEOPLE, remote_destination=f"{tmp_path}/all/part-{number}.csv")
    for kind in KINDS:
        found = DataFrame.from_existing_remote(f"{tmp_path}/all", format="csv").open(kind).all_sync()
        assert rows(found) == EXPECTED * 2


@pytest.mark.parametrize("kind", KINDS, ids=["pandas", "arrow", "polars"])
@pytest.mark.parametrize("suffix", ["parquet", "csv", None])
def test_a_table_is_read_by_pieces(kind: type, suffix: str | None, tmp_path: Path) -> None:
    many = pd.DataFrame({"n": range(ROWS + 1)})
    table = DataFrame.wrap_df(many, uri=suffix and f"{tmp_path}/n.{suffix}")
    opened: Any = table.open(kind)

    async def lengths() -> tuple[list[int], list[int]]:
        counts = [len(piece) async for piece in opened.iter()]
        return counts, [len(piece) async for piece in await opened.iter()]

    counts, again = asyncio.run(lengths())
    assert sum(counts) == sum(again) == sum(map(len, opened.iter())) == ROWS + 1
    assert suffix == "csv" or max(counts) == ROWS


def test_every_verb_has_an_awaited_form() -> None:
    async def use() -> None:
        table = await DataFrame.from_local(TABLE)
        assert (await table.open(pa.Table).all()).equals(TABLE)
        table.open(pl.DataFrame)  # and asked afterwards, as in Flyte
        assert rows(await table.all()) == rows(table.all_sync()) == EXPECTED
        assert [len(piece) async for piece in table.iter()] == [2]

    asyncio.run(use())


def test_columns_and_hash_are_told() -> None:
    def names(frame: pd.DataFrame) -> str:
        return "-".join(frame["name"])

    table = DataFrame.from_local_sync(
        PEOPLE, columns={"name": str, "age": int}, hash_method=HashFunction.from_fn(names)
    )

    assert table.hash == "Ada-Bob"
    assert DataFrame.from_local_sync(PEOPLE, hash_method="v1").hash == "v1"
    told = table.metadata.structured_dataset_type
    assert told.format == "parquet"
    assert [(each.name, each.literal_type) for each in told.columns] == [("name", str), ("age", int)]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: DataFrame.wrap_df(5), "A int is no frame: give one of pandas, pyarrow or polars"),
        (lambda: DataFrame.wrap_df(), "A NoneType is no frame"),
        (
            lambda: DataFrame.from_local_sync(PEOPLE, columns={"nam": str}),
            "there is no column 'nam'. The columns: name, age",
        ),
        (lambda: DataFrame.wrap_df(PEOPLE).all_sync(), "write df.open(pandas.DataFrame).all()"),
        (lambda: DataFrame().open(pd.DataFrame).all_sync(), "neither a frame nor a uri"),
        (lambda: DataFrame.wrap_df(PEOPLE).open(dict).all_sync(), "A table can't be read as dict"),
        (lambda: DataFrame.wrap_df(PEOPLE).stored(format="orc"), "can't be written or read as 'orc'"),
        (
            lambda: DataFrame(uri="/nowhere/x.parquet").open(pd.DataFrame).all_sync(),
            "There is no frame at /nowhere/x.parquet",
        ),
        (lambda: DataFrame(uri="x.orc", format="orc").open(pa.Table).all_sync(), "read as 'orc'"),
    ],
)
def test_what_is_wrong_is_told(make: Any, problem: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=re.escape(problem)):
        make()


class Report(pydantic.BaseModel):
    table: DataFrame
    others: list[DataFrame] = []


def test_a_table_is_a_field_of_a_model() -> None:
    stored = DataFrame.from_local_sync(PEOPLE)
    report = Report(table=PEOPLE, others=[stored])  # type: ignore[arg-type]
    read = Report.model_validate_json(Report(table=stored).model_dump_json())

    assert report.table.val is PEOPLE
    assert report.others == [stored]
    assert read.table == stored
    assert Report.model_json_schema()["properties"]["table"]
    assert json.loads(stored.model_dump_json())["uri"] == stored.uri
    with pytest.raises(pydantic.ValidationError, match="is no frame"):
        Report(table=5)  # type: ignore[arg-type]


def test_a_copy_holds_the_same_frame() -> None:
    copied = DataFrame.wrap_df(PEOPLE).model_copy(update={"hash": "x"})

    assert copied.val is PEOPLE
    assert copied.hash == "x"
    assert copied != DataFrame.wrap_df(PEOPLE)


@dataclass
class Holder:
    table: DataFrame


def test_a_table_in_a_dataclass_is_passed_on() -> None:
    found = pickle.loads(pickle.dumps(Holder(DataFrame.wrap_df(TABLE))))

    assert found.table.open(pd.DataFrame).all_sync().equals(TABLE.to_pandas())


def test_reading_works_while_a_loop_runs() -> None:
    async def inside() -> Any:
        return DataFrame.wrap_df(PEOPLE).open(pa.Table).all_sync()

    assert rows(asyncio.run(inside())) == EXPECTED
