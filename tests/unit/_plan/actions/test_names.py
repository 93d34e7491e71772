from __future__ import annotations

import threading

from flyteray._plan.actions.names import ActionNames


def _names(parent: str = "a0") -> list[str]:
    names = ActionNames(parent)
    return [
        names.next("env.f", {"x": 1}),
        names.next("env.f", {"x": 1}),
        names.next("env.f", {"x": 2}),
        names.next("env.g", {"x": 1}),
        names.next("env.f", {"x": 1}, "group"),
    ]


def test_calls_have_names_of_their_own_and_the_same_ones_again() -> None:
    assert _names() == _names()
    assert len({*_names(), *_names("other")}) == 10


def test_the_order_of_calls_that_differ_makes_no_difference() -> None:
    first, second = ActionNames("a0"), ActionNames("a0")
    one = {x: first.next("f", {"x": x}) for x in (1, 2, 3)}
    assert one == {x: second.next("f", {"x": x}) for x in (3, 1, 2)}


def test_inputs_that_nothing_can_name_count_as_equal() -> None:
    names, again = ActionNames("a0"), ActionNames("a0")
    calls = [names.next("f", {"x": threading.Lock()}) for _ in range(2)]
    assert calls == [again.next("f", {"x": threading.Lock()}) for _ in range(2)]
    assert len(set(calls)) == 2


def test_a_name_is_good_in_paths() -> None:
    assert all(name.isalnum() and name == name.lower() and len(name) == 16 for name in _names())
