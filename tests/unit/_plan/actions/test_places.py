"""The places of a run: who may run at one time."""

from __future__ import annotations

import random

import pytest

from flyteray._plan.actions.places import Grant, Places


def test_no_more_run_than_there_are_places_and_a_parent_lends_its_own() -> None:
    places = Places(2, "a0")

    assert places.take("b", "a0") == [Grant("b", "a0")]
    assert places.take("c", "a0") == [Grant("c", "a0")]
    assert places.take("d", "a0") == []
    assert places.give("b", "a0", last=False) == [Grant("d", "a0")]
    assert places.take("e", "c") == [Grant("e", "c")]


def test_a_parent_has_its_own_place_again_before_others_begin() -> None:
    places = Places(2, "a0")
    places.take("b", "a0")
    places.take("c", "a0")
    places.take("d", "a0")
    places.take("e", "b")  # in the place that b has lent... which d was before it to get

    assert places.give("c", "a0", last=False) == [Grant("e", "b")]
    assert places.give("e", "b", last=True) == [Grant("b", "b")]


def test_what_is_asked_twice_changes_nothing_and_what_nobody_knows_neither() -> None:
    places = Places(2, "a0")
    places.take("b", "a0")

    assert places.take("b", "a0") == []
    assert places.take("x", "unknown") == []
    assert places.give("x", "unknown", last=True) == []
    assert places.take("c", "a0") == [Grant("c", "a0")]


def test_with_an_action_all_below_it_give_their_places_back() -> None:
    places = Places(2, "a0")
    places.take("b", "a0")
    places.take("c", "b")
    places.take("d", "b")
    places.take("e", "b")

    assert places.give("b", "a0", last=True) == [Grant("a0", "a0")]
    assert places.take("f", "a0") == [Grant("f", "a0")]
    assert places.take("g", "a0") == [Grant("g", "a0")]


def test_what_a_dead_attempt_has_left_goes_with_the_last_of_the_next() -> None:
    places = Places(2, "a0")
    places.take("left", "a0")
    places.take("b", "a0")

    assert places.give("b", "a0", last=True) == [Grant("a0", "a0")]
    assert places.take("c", "a0") == [Grant("c", "a0")]
    assert places.take("d", "a0") == [Grant("d", "a0")]


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_of_calls_ends_and_never_do_more_run_than_may(seed: int) -> None:
    """Every action calls up to three others, four levels down, in any order."""
    chosen = random.Random(seed)
    limit = chosen.randint(2, 4)
    places = Places(limit, "r")
    running, waiting, ended = {"r"}, set[str](), set[str]()
    to_call = {"r": [f"r{number}" for number in range(3)]}
    called: dict[str, set[str]] = {"r": set()}

    def take_in(grants: list[Grant]) -> None:
        for grant in grants:
            waiting.discard(grant.action)
            running.add(grant.action)
            if grant.action not in called:
                called[grant.action] = set()
                depth = len(grant.action)
                to_call[grant.action] = [
                    f"{grant.action}{n}" for n in range(chosen.randint(0, 3) if depth < 5 else 0)
                ]

    while running or waiting:
        assert len(running) <= limit
        assert running, "nobody runs, and somebody waits"
        action = chosen.choice(sorted(running))
        if to_call[action]:
            running.discard(action)
            for child in to_call[action]:
                called[action].add(child)
                waiting.add(child)
            children, to_call[action] = to_call[action], []
            for child in children:
                take_in(places.take(child, action))
        else:
            running.discard(action)
            ended.add(action)
            if action != "r":
                parent = action[:-1]
                called[parent].discard(action)
                if not called[parent]:
                    waiting.add(parent)
                take_in(places.give(action, parent, last=not called[parent]))

    assert ended == set(called)
