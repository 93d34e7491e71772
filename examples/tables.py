"""Pass tables on as DataFrames: in memory, or by where they lie.

    python examples/tables.py
    flyteray run examples/tables.py wettest --days /tmp/rain.csv

A `flyte.io.DataFrame` is given as a frame of pandas, pyarrow or polars, and opened as any of them. A frame that is
wrapped goes from task to task in the cluster's memory; one that is stored lies there as Parquet, and is read by whoever
opens it. An annotation may name the columns that a task needs: it is given no others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa

import flyteray as flyte
from flyteray.io import DataFrame

env = flyte.TaskEnvironment(name="rain", resources=flyte.Resources(cpu=1, memory="500Mi"))


@env.task
def measured(days: int) -> DataFrame:
    """The rain of many days in three cities, in memory."""
    numbers = np.random.default_rng(7)
    cities = numbers.choice(["Bergen", "Cairo", "Lima"], days)
    wet = np.where(cities == "Bergen", 6.0, 0.1)
    return DataFrame.wrap_df(
        pd.DataFrame({"city": cities, "mm": numbers.exponential(wet), "day": range(days)})
    )


@env.task
def totals(days: Annotated[pa.Table, {"city": str, "mm": float}]) -> Annotated[DataFrame, "csv"]:
    """The rain of each city: given as a table of pyarrow without the days, and stored as CSV."""
    return DataFrame.wrap_df(days.group_by("city").aggregate([("mm", "sum")]))


@env.task
def wettest(days: DataFrame) -> str:
    """The city with the most rain: read piece by piece, as there may be more than memory holds."""
    sums: dict[str, float] = {}
    for piece in days.open(pd.DataFrame).iter():
        for city, millimetres in piece.groupby("city")["mm"].sum().items():
            sums[str(city)] = sums.get(str(city), 0.0) + millimetres
    return max(sums, key=lambda city: sums[city])


@env.task
async def report(days: int) -> tuple[str, DataFrame]:
    rain = await measured.aio(days)
    return await wettest.aio(rain), await totals.aio(rain)


def main() -> None:
    city, sums = flyte.run(report, days=200_000).outputs()
    print(f"Wettest: {city}")
    print(f"Stored:  {sums.uri} of {len(sums.open(pd.DataFrame).all_sync())} cities")
    Path("/tmp/rain.csv").write_text("city,mm\nOslo,3\nRome,0\nOslo,1\n")


if __name__ == "__main__":
    main()
