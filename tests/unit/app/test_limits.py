"""Limits of apps: what can be said, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from flyteray._control.apps.reconcile import ingress_state
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._plan import apps as plans
from flyteray._plan.spec import AppSpec, LimitsSpec
from flyteray.app import AppEnvironment, Limits
from tests.unit.builders import CODE, app_record, app_spec, version_record


def planned(**fields: Any) -> AppSpec:
    return plans.app_spec(AppEnvironment(name="shop", args="serve", **fields), CODE)


@pytest.mark.parametrize(
    ("limits", "spec"),
    [
        (Limits(), None),
        (Limits(concurrency=1), LimitsSpec(concurrency=1, queue=1)),
        (Limits(concurrency=7), LimitsSpec(concurrency=7, queue=3)),
        (Limits(concurrency=3, queue=0), LimitsSpec(concurrency=3, queue=0)),
        (Limits(requests_per_second=5), LimitsSpec(rate=5)),
        (Limits(body=6, headers=7), LimitsSpec(body=6, headers=7)),
    ],
)
def test_limits_are_no_part_of_a_version(limits: Limits, spec: LimitsSpec | None) -> None:
    assert planned(limits=limits).limits == spec
    assert planned(limits=limits).version_id == planned().version_id


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"concurrency": 0}, ValueError, "Limits concurrency must be from 1 to 10000, got 0"),
        ({"concurrency": True}, TypeError, "Limits concurrency must be an int, got True"),
        ({"requests_per_second": 0.5}, TypeError, "Limits requests_per_second must be an int, got 0.5"),
        ({"queue": 1}, ValueError, "without concurrency none waits"),
        ({"queue": -1, "concurrency": 1}, ValueError, "Limits queue must be from 0"),
        ({"headers": 1 << 20}, ValueError, "Limits headers must be from 1 to 69632"),
        ({"body": "1"}, TypeError, "Limits body must be an int, got '1'"),
    ],
)
def test_what_can_be_no_limit_is_refused(fields: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Limits(**fields)


def test_an_environment_takes_limits_only() -> None:
    with pytest.raises(TypeError, match="limits must be a Limits"):
        AppEnvironment(name="shop", limits=3)  # type: ignore[arg-type]


def test_the_ingress_is_told_by_app_and_by_backend() -> None:
    limits = LimitsSpec(concurrency=3, queue=6, rate=5)
    specs = {
        "a": app_spec("a", limits=limits),
        "b": app_spec("b"),
        "c": app_spec("c", limits=LimitsSpec(body=9)),
    }
    versions = [version_record(name, spec=spec, backend=at) for at, (name, spec) in enumerate(specs.items())]

    state = ingress_state([app_record(name, name, name) for name in specs], versions, [])

    assert state.limits == {"a": Limit(rate=5), "c": Limit(body=9)}
    assert state.crowds == {0: Crowd(3, 6)}
