from __future__ import annotations

from typing import Any

import pytest

from flyteray.app import Scaling


@pytest.mark.parametrize(
    ("replicas", "expected", "count"),
    [(0, (0, 0), 1), (3, (3, 3), 3), ((0, 1), (0, 1), 1), ((2, 5), (2, 5), 2)],
    ids=["none", "fixed", "from zero", "range"],
)
def test_replicas_are_a_number_or_a_range(replicas: Any, expected: tuple[int, int], count: int) -> None:
    scaling = Scaling(replicas)

    assert scaling.get_replicas() == expected
    assert scaling.count == count


def test_without_words_there_is_one_replica() -> None:
    assert Scaling().count == 1


@pytest.mark.parametrize("replicas", [-1, (-1, 1), (0, 0), (2, 1), (1,), (1, 2, 3)], ids=str)
def test_impossible_numbers_are_refused(replicas: Any) -> None:
    with pytest.raises(ValueError, match="replicas"):
        Scaling(replicas)


@pytest.mark.parametrize("replicas", [[1, 2], "1", None, 1.5, True, (1, 2.0), (False, 1)], ids=str)
def test_other_types_are_refused(replicas: Any) -> None:
    with pytest.raises(TypeError, match="replicas"):
        Scaling(replicas)
