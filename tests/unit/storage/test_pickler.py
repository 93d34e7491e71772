from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import Any

import pytest

from flyteray.storage.pickler import Pickler, plainly


@pytest.mark.parametrize(
    "value", [(), {}, (1,), {"x": 1, "y": None}, (True, 2.5, "é", b"\0"), {1: "one"}, (1 << 200,)]
)
def test_what_is_plain_is_pickled_as_by_the_pickler(value: Any) -> None:
    file = io.BytesIO()
    Pickler(file).dump(value)
    assert plainly(value) == file.getvalue()


class Named(str):
    pass


@pytest.mark.parametrize(
    "value",
    [1, [1], ([1],), {"x": {}}, {Named("x"): 1}, (Named("x"),), (PurePosixPath("x"),), ("x" * 5000,)],
)
def test_what_may_need_the_pickler_or_is_large_is_not_plain(value: Any) -> None:
    assert plainly(value) is None
