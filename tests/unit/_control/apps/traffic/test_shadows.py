from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord
from flyteray._control.apps.traffic.shadows import gone_on
from flyteray._plan.info import ErrorInfo
from flyteray._plan.traffic.shadow import ShadowRecord, ShadowSpec
from tests.unit.builders import app_record, app_spec, version_record

BEGUN = ShadowRecord(name="s1", spec=ShadowSpec(parts=1000))
BESIDE = BEGUN.next_to("v1")
VERSIONS = {
    f"a.{name}": version_record(f"a.{name}", spec=app_spec("a", version=name)) for name in ("v1", "v2", "v3")
}


def shadow(known: ShadowRecord = BESIDE, **fields: Any) -> VersionRecord:
    return replace(VERSIONS["a.v2"], shadow=known, **fields)


def app(**fields: Any) -> AppRecord:
    simplest = {"shares": {"a.v2": 0}, "routed": {"a.v2": 0}, "serving": "a.v1", "target": "a.v1"}
    return app_record("a", **{**simplest, **fields})


@pytest.mark.parametrize(
    ("version", "known", "after"),
    [
        (shadow(BEGUN), app(), BESIDE),
        (shadow(BEGUN), app(routed={}), BEGUN),  # it comes up
        (shadow(), app(target="a.v3", shares={}), BESIDE),  # until that one is ready
        (shadow(), app(routed={"a.v2": 0, "a.v3": 5}, shares={"a.v2": 0, "a.v3": 5}), BESIDE),
        (shadow(), app(target="a.v2", shares={}), BESIDE.ended("it was promoted")),
        (shadow(), app(shares={"a.v2": 5}), BESIDE.ended("it was given a share of the requests")),
        (shadow(), app(shares={}, routed={}), BESIDE.ended("the traffic was divided in another way")),
        (shadow(), app(target="a.v3", serving="a.v3"), BESIDE.ended("v3 serves in place of v1")),
        (shadow(phase=VersionPhase.FAILED), app(shares={}), BESIDE.ended("it could not start")),
        (
            shadow(phase=VersionPhase.FAILED, error=ErrorInfo(code="E", message="m")),
            app(shares={}),
            BESIDE.ended("it could not start: E: m"),
        ),
    ],
)
def test_what_becomes_of_an_app_ends_its_shadow(
    version: VersionRecord, known: AppRecord, after: ShadowRecord
) -> None:
    assert version.shadow is not None
    assert gone_on(version, version.shadow, known, VERSIONS) == after
