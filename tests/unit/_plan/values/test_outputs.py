"""What a getter finds in the outputs of a run, and what it is told where it finds nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flyteray._plan.values.outputs import ActionOutputs, select
from flyteray.errors import OutputNotFoundError

OUTPUTS = ({"model": "svc", "accuracy": 0.9}, [1, 2], SimpleNamespace(weights=3))


def test_a_chain_of_steps_leads_into_the_outputs() -> None:
    assert select(OUTPUTS, (0, "model"), "r1") == "svc"
    assert select(OUTPUTS, (1, -1), "r1") == 2


@pytest.mark.parametrize(
    ("getter", "told"),
    [
        ((0, "modle"), r"Its keys: 'model', 'accuracy'\. Did you mean 'model'\?"),
        ((0, 0), r"outputs\[0\]\[0\].*Its keys: 'model', 'accuracy'\."),
        ((3,), "It has 3 of them, counted from 0"),
        ((1, "model"), "It has 2 of them"),
        ((2, "weights"), "'weights' is an attribute"),
    ],
)
def test_a_step_into_nothing_is_told_what_there_is(getter: tuple[Any, ...], told: str) -> None:
    with pytest.raises(OutputNotFoundError, match=told):
        select(OUTPUTS, getter, "r1")


def test_an_output_that_there_is_not_is_named() -> None:
    with pytest.raises(AttributeError, match="no output 'o2': this run has o0, o1"):
        _ = ActionOutputs([1, 2]).o2
