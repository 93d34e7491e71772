from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flyteray._control.apps.state import AppRecord, VersionPhase
from flyteray._control.apps.traffic.division import beside, divided, refuse_shadow, rolled_back, version_infos
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.shadow import Compared, ShadowRecord, ShadowSpec
from flyteray.errors import RuntimeUserError
from tests.unit.builders import NOON, app_record, app_spec, version_record

V1, V2, V3 = (
    replace(version_record(f"a.{name}", spec=app_spec("a", version=name)), revision=number)
    for number, name in enumerate(("v1", "v2", "v3"))
)


def app(target: str = "a.v1", serving: str | None = "a.v1", **fields: Any) -> AppRecord:
    return app_record("a", target, serving, **fields)


def test_the_version_with_most_is_the_target_and_the_others_are_beside_it() -> None:
    asked = divided(app(), [V1, V2], {"v1": 30, "a.v2": 70}, "cookie", NOON)
    assert (asked.target, asked.shares, asked.sticks) == ("a.v2", {"a.v1": 30}, "cookie")
    even = divided(app(), [V1, V2], {"v2": 50, "v1": 50}, None, NOON)
    assert (even.target, even.shares) == ("a.v1", {"a.v2": 50})  # the one that serves


def test_all_is_promoted_at_once_and_the_version_before_is_remembered() -> None:
    asked = divided(app(), [V1, V2], {"v2": 100}, None, NOON).promoted(NOON)
    assert (asked.serving, asked.routed, asked.previous) == ("a.v2", {}, "a.v1")
    again = divided(asked, [V1, V2], {"v2": 90, "v1": 10}, None, NOON).promoted(NOON)
    assert (again.serving, again.routed, again.previous) == ("a.v2", {"a.v1": 10}, "a.v1")


@pytest.mark.parametrize(
    ("before", "target"),
    [
        (app("a.v2", "a.v1"), "a.v1"),  # that comes up
        (app(shares={"a.v2": 5}), "a.v1"),
        (app(shares={"a.v2": 5}, routed={"a.v2": 5}), "a.v1"),
        (app("a.v2", "a.v2", previous="a.v1"), "a.v1"),
    ],
)
def test_a_rollback_takes_back_what_changed_last(before: AppRecord, target: str) -> None:
    after = rolled_back(before, [V1, V2], NOON)
    assert (after.target, after.shares) == (target, {})


def test_a_version_that_is_not_there_is_named_with_one_that_may_be_meant() -> None:
    with pytest.raises(ValueError, match=r"no version 'V2'\. Its versions: v1, v2\. Did you mean 'v2'\?$"):
        divided(app(), [V1, V2], {"V2": 100}, None, NOON)


def test_a_rollback_needs_a_version_before() -> None:
    for known in (app(), app(previous="a.gone"), app("a.v1", None)):
        with pytest.raises(RuntimeUserError, match="no version that served before"):
            rolled_back(known, [V1], NOON)
    with pytest.raises(RuntimeUserError, match="is stopped"):
        rolled_back(app(previous="a.v2", desired="stopped"), [V1, V2], NOON)


def test_a_new_version_has_all_where_there_is_nobody_to_share_with() -> None:
    assert beside(None, "a.v2", 5) == ("a.v2", {})
    assert beside(app(desired="stopped"), "a.v2", 5) == ("a.v2", {})
    assert beside(app("a.v1", None), "a.v2", 5) == ("a.v2", {})
    assert beside(app(), "a.v1", 5) == ("a.v1", {})
    assert beside(app(), "a.v2", 100) == ("a.v2", {})
    assert beside(app(), "a.v2", 5) == ("a.v1", {"a.v2": 5})


def test_versions_that_share_the_requests_keep_their_proportions_beside_a_new_one() -> None:
    even = app(shares={"a.v2": 50}, routed={"a.v2": 50})
    assert beside(even, "a.v3", 10) == ("a.v1", {"a.v2": 45, "a.v3": 10})
    assert beside(even, "a.v3", 0) == ("a.v1", {"a.v2": 50, "a.v3": 0})
    assert beside(even, "a.v2", 20) == ("a.v1", {"a.v2": 20})
    several = app(routed={"a.v2": 10, "a.v3": 10})
    assert beside(several, "a.v3", 55) == ("a.v1", {"a.v2": 5, "a.v3": 55})
    assert beside(app(routed={"a.v2": 100}), "a.v3", 99) == ("a.v1", {"a.v2": 1, "a.v3": 99})


def test_where_a_new_version_is_taken_back_all_is_as_before() -> None:
    target, shares = beside(even := app(shares={"a.v2": 50}, routed={"a.v2": 50}), "a.v3", 10)
    asked = replace(even, target=target, shares=shares)
    assert asked.without("a.v3") == even
    other = divided(even, [V1, V2, V3], {"v2": 80, "v3": 20}, None, NOON)
    assert other.target == "a.v2"
    assert other.without("a.v3") == replace(even, updated_at=other.updated_at)
    routed = asked.promoted(NOON)
    assert (routed.without("a.v3").shares, routed.without("a.v3").routed) == ({"a.v2": 50}, {"a.v2": 50})
    first = app("a.v2", None, shares={"a.v3": 20})
    assert (first.without("a.v3").target, first.without("a.v3").shares) == ("a.v2", {})


def test_users_see_what_each_version_has_and_is_to_have() -> None:
    shared = app(shares={"a.v2": 20}, routed={"a.v2": 5})
    failed = replace(V2, phase=VersionPhase.FAILED)
    told = version_infos(shared, [V1, failed], {"a.v1": 3})
    assert [(each.name, each.phase, each.share, each.wanted, each.ready_replicas) for each in told] == [
        ("v2", "failed", 5, 20, 0),
        ("v1", "ready", 95, 80, 3),
    ]
    stopped = version_infos(replace(shared, desired="stopped"), [V1], {})
    assert [(each.share, each.wanted) for each in stopped] == [(0, 0)]


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        (app(), "Version 'v1' of app 'a' serves, or is about to: it can't be its own shadow"),
        (app("a.v1", "a.v2"), "Version 'v1' of app 'a' serves, or is about to"),
        (
            app("a.v2", "a.v2", shares={"a.v1": 5}),
            "has 5 percent of the requests, and nobody gets the answers",
        ),
        (app("a.v2", "a.v2", routed={"a.v1": 7}), "has 7 percent of the requests"),
    ],
)
def test_a_version_whose_answers_users_get_is_no_shadow(known: AppRecord, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        refuse_shadow("a", known, "a.v1", "v1")


@pytest.mark.parametrize(
    ("known", "what_to_do"),
    [
        (None, "Serve one first"),
        (app(serving=None), "Wait for the one that comes up"),
        (app(desired="stopped"), "It is stopped: start it first"),
    ],
)
def test_without_a_version_that_serves_there_is_nothing_to_copy(
    known: AppRecord | None, what_to_do: str
) -> None:
    expected = rf"App 'a' has no version that serves, so there are no requests to copy\. {what_to_do}"
    with pytest.raises(RuntimeUserError, match=expected):
        refuse_shadow("a", known, "a.v2", "v2")
    refuse_shadow("a", app(shares={"a.v2": 0}), "a.v2", "v2")


def test_a_shadow_is_told_of_with_its_version() -> None:
    compared = Compared(
        copied=3,
        left_out={"many": 1},
        live=Figures(requests=2, classes=(0, 2, 0, 0, 0)),
        shadow=Figures(requests=2, classes=(0, 1, 0, 0, 1)),
        otherwise={"500 200": 1},
    )
    record = ShadowRecord(name="s1", spec=ShadowSpec(parts=1000), beside="v1", compared=compared)
    [info] = version_infos(app(), [replace(V2, shadow=record)], {})

    assert info.shadow is not None
    assert (info.shadow.share, info.shadow.copied, info.shadow.compared, info.shadow.beside) == (
        10,
        3,
        2,
        "v1",
    )
    assert (info.shadow.live.classes, info.shadow.shadow.classes) == ({"2xx": 2}, {"2xx": 1, "5xx": 1})
    assert (info.shadow.left_out, info.shadow.otherwise) == ({"many": 1}, {"500 200": 1})
