from __future__ import annotations

import json

from flyteray._plan.traffic.access import InOrder, Page, Place

START = Place(1, 0)


def entry(time: str) -> str:
    return json.dumps({"app": "hello", "time": time})


def page(until: str, *times: str) -> Page:
    return Page(tuple(entry(time) for time in times), START, until)


def test_entries_of_all_machines_are_told_in_the_order_of_time() -> None:
    pages = [page("09", "01", "04"), page("09", "02", "03")]

    assert InOrder().after(pages) == [entry("01"), entry("02"), entry("03"), entry("04")]


def test_an_entry_waits_for_the_machine_that_may_still_have_an_earlier_one() -> None:
    in_order = InOrder()

    assert in_order.after([page("05", "01", "04"), page("03")]) == [entry("01")]
    assert in_order.rest() == [entry("04")]
    assert in_order.after([page("06", "06"), page("06", "03.5")]) == [entry("03.5"), entry("04"), entry("06")]
    assert in_order.rest() == []


def test_a_machine_that_does_not_tell_holds_nobody_up() -> None:
    in_order = InOrder()
    in_order.after([page("03"), page("01")])

    assert in_order.after([page("04", "03.5")]) == [entry("03.5")]
    assert in_order.after([]) == []
