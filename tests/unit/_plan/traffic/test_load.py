from __future__ import annotations

from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.load import Beginnings

OLD, NEW = ("hello", "v1", 7), ("hello", "v2", 7)


def figures(requests: int) -> Figures:
    return Figures(requests=requests)


def test_versions_that_are_there_at_first_have_all_that_was_counted() -> None:
    beginnings = Beginnings([OLD])

    assert beginnings.unknown([OLD]) == []
    assert beginnings.since(OLD, figures(5)) == figures(5)


def test_what_another_version_had_at_the_same_backend_is_not_the_next_ones() -> None:
    beginnings = Beginnings([OLD])

    assert beginnings.unknown([NEW]) == [7]
    beginnings.note([NEW], {7: figures(5)})
    assert beginnings.since(NEW, figures(5)) == Figures()
    assert beginnings.unknown([NEW]) == []
    beginnings.note([NEW], {})
    assert beginnings.since(NEW, figures(9)) == figures(4)


def test_a_version_that_comes_back_to_its_backend_begins_anew() -> None:
    beginnings = Beginnings([OLD])
    beginnings.note([], {})

    assert beginnings.unknown([OLD]) == [7]
    beginnings.note([OLD], {7: figures(8)})
    assert beginnings.since(OLD, figures(9)) == figures(1)
