from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord
from flyteray._control.apps.traffic.canaries import divided, overruled
from flyteray._plan.info import ErrorInfo
from flyteray._plan.traffic.canary import CanaryRecord, CanarySpec
from flyteray.app import Canary
from tests.unit.builders import NOON, app_record, version_record

BEGUN = CanaryRecord(spec=CanarySpec.of(Canary(steps=(5, 25))))


def canary(phase: VersionPhase = VersionPhase.READY, **fields: Any) -> VersionRecord:
    return replace(version_record("v2", phase), canary=BEGUN, **fields)


def app(target: str = "v1", **fields: Any) -> AppRecord:
    return app_record("a", target, "v1", **{"shares": {"v2": 5}, "routed": {"v2": 5}, **fields})


def test_the_traffic_follows_a_canary() -> None:
    known = app()
    assert divided(known, "v2", BEGUN, NOON) is known
    assert divided(known, "v2", BEGUN.model_copy(update={"step": 1}), NOON).shares == {"v2": 25}
    promoted = divided(known, "v2", BEGUN.ended("promoted"), NOON)
    assert (promoted.target, promoted.shares) == ("v2", {})
    taken = divided(known, "v2", BEGUN.ended("taken back", "it failed"), NOON)
    assert (taken.target, taken.shares, taken.routed) == ("v1", {}, {})  # at once
    assert divided(known, "v2", BEGUN.ended("ended"), NOON) is known


@pytest.mark.parametrize(
    ("version", "known", "outcome"),
    [
        (canary(), app(), None),
        (canary(), app(target="v2", shares={}), ("promoted", "by hand")),
        (canary(), app(shares={"v2": 50}), ("ended", "the traffic was divided in another way")),
        (canary(), app(shares={}), ("ended", "the traffic was divided in another way")),
        (canary(VersionPhase.FAILED), app(shares={}), ("taken back", "it could not start")),
        (
            canary(VersionPhase.FAILED, error=ErrorInfo(code="E", message="m")),
            app(shares={}),
            ("taken back", "it could not start: E: m"),
        ),
    ],
)
def test_what_somebody_does_by_hand_ends_a_canary(
    version: VersionRecord, known: AppRecord, outcome: tuple[str, str] | None
) -> None:
    ended = overruled(version, known)
    assert (ended and (ended.outcome, ended.reason)) == outcome
