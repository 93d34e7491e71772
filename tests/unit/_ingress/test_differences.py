from __future__ import annotations

import pickle

from hypothesis import given, settings

from flyteray._ingress.differences import Difference
from flyteray._ingress.routes import IngressState, Slot
from tests.unit._ingress.test_changes import states


@settings(max_examples=150, deadline=None)
@given(states, states)
def test_it_leads_from_one_state_to_the_other(old: IngressState, new: IngressState) -> None:
    difference = Difference.between(old, new)

    assert difference.applied_to(old) == new
    assert bool(difference) == (old != new)


def test_it_says_what_changed_and_no_more() -> None:
    slot = Slot("127.0.0.1", 80)
    old = IngressState({"a": 0, "b": 1}, {0: {1: slot}, 1: {1: slot}}, sticky=frozenset({"a"}))
    new = IngressState({"a": 0, "c": 2}, {0: {1: slot}, 1: {1: slot, 2: slot}}, sticky=frozenset({"c"}))

    assert Difference.between(old, new) == Difference(
        put={"apps": {"c": 2}, "backends": {1: {1: slot, 2: slot}}, "sticky": {"c"}},
        gone={"apps": {"b"}, "sticky": {"a"}},
    )


def test_one_of_a_large_state_is_small() -> None:
    slot = Slot("127.0.0.1", 80)
    old = IngressState({f"app-{number}": number for number in range(1000)})
    new = IngressState({**old.apps, "more": 1000}, {1000: {1: slot}})

    assert len(pickle.dumps(Difference.between(old, new))) < 1000 < len(pickle.dumps(old)) / 10
