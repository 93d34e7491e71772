"""What counts as too slow: bodies that come at a few bytes now and then, measured over a while."""

from __future__ import annotations

import pytest

from flyteray._ingress.entry.pace import MEASURED_S, SLOWEST, Paces


def lived_s(bytes_per_s: float, looks_s: float = 5.0, until_s: float = 600.0) -> float | None:
    """When a body that comes at this rate is found to be too slow; None where it is not."""
    paces, now = Paces(), 0.0
    while now < until_s:
        if paces.too_slow({"a": int(now * bytes_per_s)}, now):
            return now
        now += looks_s
    return None


@pytest.mark.parametrize("rate", [0, 1, 100, SLOWEST - 10])
def test_a_body_that_drips_is_found_soon(rate: float) -> None:
    found_s = lived_s(rate)

    assert found_s is not None
    assert MEASURED_S <= found_s <= MEASURED_S + 10


@pytest.mark.parametrize("rate", [SLOWEST + 60, 1_000, 1e6])
def test_a_body_that_goes_on_is_left_alone(rate: float) -> None:
    assert lived_s(rate) is None


def test_a_pause_that_is_shorter_than_what_is_measured_is_none() -> None:
    paces = Paces()
    received, found = 0, []
    for now in range(0, 300, 5):
        received += 0 if now % 30 < 20 else 10_000
        found += paces.too_slow({"a": received}, now)

    assert found == []


def test_who_is_not_waited_for_for_a_moment_begins_anew() -> None:
    paces = Paces()
    paces.too_slow({"a": 1, "b": 1}, 0)
    paces.too_slow({"b": 1}, 20)

    assert paces.too_slow({"a": 1, "b": 1}, 31) == ["b"]
