from __future__ import annotations

import numpy as np
import pytest

from flyteray._plan.actions.inputs import INLINE, LARGEST, in_storage, inline
from flyteray._plan.values import pickling


@pytest.mark.parametrize(
    ("value", "here", "there"),
    [
        (1, True, False),
        ("x" * 2 * INLINE, False, True),
        (np.zeros(INLINE), False, True),
        (np.zeros(LARGEST // 8 + 1), False, False),
    ],
    ids=["small", "text", "array", "huge"],
)
def test_small_inputs_travel_larger_ones_are_kept_in_storage_and_huge_ones_are_not(
    value: object, here: bool, there: bool
) -> None:
    payload = pickling.dump({"x": value}, "inputs")

    assert (inline(payload) is not None, in_storage(payload)) == (here, there)
    if data := inline(payload):
        assert pickling.load(pickling.Payload(data, [])) == {"x": value}
