from __future__ import annotations

from typing import Any

import pytest

from flyteray._plan.traffic.figures import NONE_YET, Figures, place
from flyteray._plan.traffic.load import Open, VersionLoad
from flyteray._plan.traffic.rates import rates
from flyteray._plan.traffic.shadow import Compared


def figures(requests: int, errors: int = 0, took_us: int = 10_000) -> Figures:
    latencies = list(NONE_YET)
    latencies[place(took_us)] = requests
    return Figures(requests=requests, errors=errors, latencies=tuple(latencies))


def load(app: str, version: str, requests: int, errors: int = 0, **fields: Any) -> VersionLoad:
    return VersionLoad(
        app,
        version,
        fields.get("ready", 1),
        fields.get("wanted", 1),
        Open(2, 1, 0),
        figures(requests, errors),
        compared=fields.get("compared"),
    )


def test_only_what_has_come_between_the_looks_counts() -> None:
    [found] = rates([load("a", "v1", 100, errors=50)], [load("a", "v1", 120, errors=51)], 4.0)

    assert (found.app, found.version, found.requests_per_s, found.errors) == ("a", None, 5.0, 0.05)
    assert found.p50_ms == pytest.approx(10, rel=0.1)
    assert found.p95_ms == pytest.approx(10, rel=0.1)
    assert (found.open, found.ready, found.wanted, found.versions) == (Open(2, 1, 0), 1, 1, ())


def test_the_versions_of_an_app_are_told_together_and_each() -> None:
    before = [load("a", "v1", 10), load("a", "v2", 0)]
    now = [load("a", "v1", 20, ready=2, wanted=3), load("a", "v2", 10, errors=10)]

    [found] = rates(before, now, 1.0)

    assert (found.requests_per_s, found.errors, found.ready, found.wanted) == (20, 0.5, 3, 4)
    assert found.open == Open(4, 2, 0)
    assert [(each.version, each.requests_per_s, each.errors) for each in found.versions] == [
        ("v1", 10, 0.0),
        ("v2", 10, 1.0),
    ]


def test_what_a_shadow_is_asked_nobody_has_asked_the_app() -> None:
    now = [load("a", "v1", 20), load("a", "v2", 20, errors=20, compared=Compared())]

    [found] = rates([], now, 1.0)

    assert (found.requests_per_s, found.errors, found.ready, found.open) == (20, 0.0, 1, Open(2, 1, 0))
    assert [(each.version, each.errors) for each in found.versions] == [("v1", 0.0), ("v2", 1.0)]


def test_an_app_that_was_asked_nothing_has_no_latency() -> None:
    [found] = rates([load("a", "v1", 7)], [load("a", "v1", 7)], 1.0)

    assert (found.requests_per_s, found.p50_ms, found.p95_ms, found.errors) == (0, None, None, 0.0)


def test_apps_come_by_name_and_new_ones_count_from_nothing() -> None:
    found = rates([load("b", "v1", 5)], [load("b", "v1", 2), load("a", "v1", 3)], 1.0)

    assert [(each.app, each.requests_per_s) for each in found] == [("a", 3), ("b", 2)]
