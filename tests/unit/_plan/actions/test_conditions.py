from __future__ import annotations

from typing import Any

import pytest

from flyteray._plan.actions.conditions import Kind, answer


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("bool", True, True),
        ("bool", "true", True),
        ("bool", " Y ", True),
        ("bool", "no", False),
        ("int", 3, 3),
        ("int", "-3", -3),
        ("float", 3, 3.0),
        ("float", "0.5", 0.5),
        ("str", "3", "3"),
        ("str", " text ", " text "),
        ("str", "", ""),
    ],
)
def test_an_answer_is_of_the_kind_that_is_asked_for(kind: Kind, given: Any, expected: Any) -> None:
    found = answer(kind, given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("bool", 1, "true or false, got 1"),
        ("bool", "perhaps", "true or false, got 'perhaps'"),
        ("int", True, "a whole number, got True"),
        ("int", 1.5, "a whole number, got 1.5"),
        ("int", "1.5", "a whole number, got '1.5'"),
        ("float", "much", "a finite number, got 'much'"),
        ("float", False, "a finite number, got False"),
        ("float", "nan", "a finite number, got 'nan'"),
        ("float", float("-inf"), "a finite number, got -inf"),
        ("float", 10**400, "a finite number, got 1000"),
        ("str", 3, "a text, got 3"),
        ("str", None, "a text, got None"),
    ],
)
def test_another_answer_is_refused(kind: Kind, given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        answer(kind, given)
