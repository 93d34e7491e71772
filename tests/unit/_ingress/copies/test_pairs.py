from __future__ import annotations

import pytest

from flyteray._ingress.copies import pairs as pairing
from flyteray._ingress.copies.pairs import Pairs
from flyteray._ingress.seen.lines import Ended, read
from flyteray._plan.traffic.shadow import Compared

BEGAN = 1_000_000  # microseconds, of all requests here


def line(number: str, copy: str, status: int, took_us: int, termination: str = "--NN") -> Ended:
    answered = "-" if status <= 0 else BEGAN + took_us
    request = read(
        f"{number} b1 s1 {status} {termination} 1 1 0 0 {BEGAN} {answered} 9 {copy} - - - - - a -".encode()
    )
    assert request is not None
    return request


def live(number: str, status: int = 200, took_us: int = 5_000, termination: str = "--NN") -> Ended:
    """A request that was copied a millisecond after it had come."""
    return line(number, f"s7={BEGAN + 1_000}", status, took_us, termination)


def copy(of: str, status: int = 200, took_us: int = 8_000, termination: str = "--NN") -> Ended:
    return line(f"x{of}", f"s7*{of}", status, took_us, termination)


def test_requests_and_their_copies_are_compared_in_whatever_order_they_end() -> None:
    pairs = Pairs()
    pairs.add([live("1.1"), copy("1.1"), copy("1.2", 500)])
    pairs.add([live("1.3", took_us=2_000), live("1.2"), copy("1.3", 404), line("1.4", "-", 200, 1)])

    told = pairs.compared(["s7", "s8"])
    found = told["s7"]
    assert (found.copied, found.left_out) == (3, {})
    assert (found.live.requests, found.live.classes, found.live.waited_us) == (3, (0, 3, 0, 0, 0), 9_000)
    assert (found.shadow.classes, found.shadow.errors, found.shadow.waited_us) == ((0, 1, 0, 1, 1), 1, 24_000)
    assert found.otherwise == {"500 200": 1, "404 200": 1}
    assert told["s8"] == Compared()


def test_what_was_not_copied_is_counted_by_the_reason() -> None:
    pairs = Pairs()
    pairs.add([line(f"1.{each}", f"s7!{why}", 200, 1) for each, why in enumerate(["many", "large", "many"])])

    assert pairs.compared(["s7"])["s7"] == Compared(left_out={"many": 2, "large": 1})


@pytest.mark.parametrize("other", [live("1.1", 499, termination="CH--"), live("1.1", 0, termination="CH--")])
def test_a_client_that_leaves_before_its_answer_has_nothing_to_compare(other: Ended) -> None:
    pairs = Pairs()
    pairs.add([other, copy("1.1")])

    found = pairs.compared(["s7"])["s7"]
    assert (found.copied, found.live.requests, found.shadow.requests) == (1, 0, 0)


def test_those_whose_other_one_never_ends_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "_MOST_WAITING", 2)
    pairs = Pairs()
    pairs.add([live("1.1"), live("1.2"), live("1.3"), copy("1.1"), copy("1.3")])

    found = pairs.compared(["s7"])["s7"]
    assert (found.copied, found.shadow.requests) == (3, 1)


def test_an_app_that_invents_statuses_takes_no_memory_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "_MOST_KINDS", 1)
    pairs = Pairs()
    for number in range(400, 403):
        pairs.add([live(f"1.{number}"), copy(f"1.{number}", number)])

    assert pairs.compared(["s7"])["s7"].otherwise == {"400 200": 1, "other other": 2}


@pytest.mark.parametrize("mark", ["s7", "=1", "s7?1", "S=1", "s7="])
def test_a_mark_that_is_none_is_left_alone(mark: str) -> None:
    pairs = Pairs()
    pairs.add([line("1.1", mark, 200, 1)])

    assert pairs.compared(["s7"])["s7"] == Compared()
