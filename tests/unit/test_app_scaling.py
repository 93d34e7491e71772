from __future__ import annotations

from typing import Any

import pytest

from flyteray.app import Scaling


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(0, (0, 0)), (3, (3, 3)), ((0, 1), (0, 1)), ((2, 5), (2, 5))],
    ids=["none", "fixed", "from zero", "range"],
)
def test_replicas_are_a_number_or_a_range(replicas: Any, expected: tuple[int, int]) -> None:
    assert Scaling(replicas).get_replicas() == expected


def test_without_words_an_app_may_scale_from_zero_to_one() -> None:
    assert Scaling().get_replicas() == (0, 1)


@pytest.mark.parametrize("replicas", [-1, (-1, 1), (0, 0), (2, 1), (1,), (1, 2, 3)], ids=str)
def test_impossible_numbers_are_refused(replicas: Any) -> None:
    with pytest.raises(ValueError, match="replicas"):
        Scaling(replicas)


@pytest.mark.parametrize("replicas", [[1, 2], "1", None, 1.5, True, (1, 2.0), (False, 1)], ids=str)
def test_other_types_are_refused(replicas: Any) -> None:
    with pytest.raises(TypeError, match="replicas"):
        Scaling(replicas)
