"""Tasks that take and give tables and values of a user's type, for the tests of how these travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel

import flyteray as flyte
from flyteray.io import DataFrame
from flyteray.types import TypeEngine, TypeTransformer

env = flyte.TaskEnvironment(name="tables")


class Celsius:
    """It can't be pickled: only its transformer makes it travel."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __reduce__(self) -> Any:
        raise TypeError("a Celsius does not pickle")


class CelsiusTransformer(TypeTransformer[Celsius]):
    def __init__(self) -> None:
        super().__init__("celsius", Celsius)

    def get_literal_type(self, t: type[Celsius]) -> str:
        return "degrees"

    async def to_literal(self, python_val: Celsius, python_type: type[Celsius], expected: str) -> Any:
        return {expected: python_val.degrees}

    async def to_python_value(self, lv: Any, expected_python_type: type[Celsius]) -> Celsius:
        return Celsius(lv["degrees"])


TypeEngine.register(CelsiusTransformer())


@dataclass
class Report:
    title: str
    table: DataFrame


class Model(BaseModel):
    table: DataFrame


@env.task
def people() -> DataFrame:
    return pd.DataFrame({"name": ["Ada", "Bob"], "age": [36, 41]})  # type: ignore[return-value]


@env.task
async def stored_people() -> Annotated[DataFrame, "csv"]:
    return DataFrame.wrap_df(pd.DataFrame({"name": ["Ada", "Bob"], "age": [36, 41]}))


@env.task
def oldest(table: pd.DataFrame, only: Annotated[pa.Table, {"age": int}]) -> str:
    assert only.column_names == ["age"]
    return str(table.loc[table["age"].idxmax(), "name"])


@env.task
async def everywhere() -> list[str]:
    table, stored = await people.aio(), await stored_people()
    assert table.val is not None
    assert stored.val is None
    return [
        await oldest.aio(table, table),
        await oldest.aio(stored, stored),
        await oldest.aio(table.open(pd.DataFrame).all_sync(), table.open(pa.Table).all_sync()),
    ]


@env.task
def told(report: Report, model: Model, many: list[DataFrame]) -> list[int]:
    return [len(each.open(pd.DataFrame).all_sync()) for each in (report.table, model.table, *many)]


@env.task
def warmer(x: Celsius, by: float) -> Celsius:
    return Celsius(x.degrees + by)


@env.task
async def twice_warmer(x: Celsius) -> Celsius:
    return await warmer.aio(await warmer.aio(x, 1.0), 2.0)
