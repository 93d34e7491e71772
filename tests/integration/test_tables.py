"""Tables and values of users' types as inputs and outputs of tasks on a cluster."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import flyteray as flyte
from flyteray.errors import RuntimeUserError
from flyteray.io import DataFrame
from tests.integration import sample_tables as samples

pytestmark = pytest.mark.usefixtures("cluster")


def result(task: Any, *args: Any, **kwargs: Any) -> Any:
    return flyte.run(task, *args, **kwargs).outputs()[0]


def test_a_table_goes_from_task_to_task_in_memory_and_by_its_place() -> None:
    assert result(samples.everywhere) == ["Bob", "Bob", "Bob"]


def test_a_table_comes_back_and_goes_on() -> None:
    table = result(samples.people)
    stored = result(samples.stored_people)

    assert isinstance(table, DataFrame)
    assert stored.uri.endswith(".csv")
    assert result(samples.oldest, table, stored) == "Bob"
    assert stored.open(pa.Table).all_sync().to_pandas().equals(table.val)


def test_tables_go_in_what_holds_them() -> None:
    table = DataFrame.wrap_df(pd.DataFrame({"x": range(3)}))

    assert result(samples.told, samples.Report("t", table), samples.Model(table=table), [table]) == [3, 3, 3]


def test_a_table_that_is_gone_fails_the_task_with_its_place() -> None:
    gone = DataFrame(uri="/nowhere/people.csv")

    with pytest.raises(RuntimeUserError, match=r"There is no frame at /nowhere/people\.csv"):
        result(samples.oldest, gone, gone)


def test_a_value_travels_by_its_transformer() -> None:
    assert result(samples.twice_warmer, samples.Celsius(1)).degrees == 4
