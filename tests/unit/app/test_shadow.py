from __future__ import annotations

import math
from typing import Any

import pytest

from flyteray.app import Shadow


@pytest.mark.parametrize("share", [0.01, 10, 33.3, 100])
def test_a_shadow_gets_copies_of_a_share_of_the_requests(share: float) -> None:
    assert Shadow(share=share).share == share


@pytest.mark.parametrize("share", [0, 0.009, -1, 100.5, 101, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"Shadow share must be 0\.01 to 100 percent, got {share}"):
        Shadow(share=share)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"share": "10"}, "share must be a number of percent, got '10'"),
        ({"share": True}, "share must be a number of percent, got True"),
        ({"safe_only": 1}, "safe_only must be True or False, got 1"),
    ],
)
def test_a_field_of_another_type_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        Shadow(**fields)
