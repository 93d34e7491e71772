"""What is told of an app that sleeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyteray._control.apps.state import VersionPhase
from flyteray._control.apps.status import app_info
from flyteray._plan.info import AppInfo, AppPhase, ClusterInfo, ErrorInfo
from flyteray.cli.verbs.get import _app_in_words
from tests.unit.builders import app_record, replica_record, version_record

CLUSTER = ClusterInfo(
    storage="s", ingress_host="127.0.0.1", ingress_port=80, endpoint_pattern="http://127.0.0.1:80/{app_fqdn}"
)


def told(
    wanted: int, resting: bool, ready: bool = False, desired: str = "active", error: ErrorInfo | None = None
) -> AppInfo:
    app = app_record(serving="v1", desired=desired)
    version = version_record(error=error)
    replicas = [replica_record()] if ready else []
    return app_info(app, {"v1": version}, replicas, CLUSTER, None, wanted, resting)


def test_an_app_that_sleeps_is_active_and_has_no_replica() -> None:
    info = told(0, resting=True)

    assert (info.phase, info.asleep, info.ready_replicas, info.replicas) == (AppPhase.ACTIVE, True, 0, 0)
    assert _app_in_words(info)["phase"] == "active, asleep: the first request wakes it"


@pytest.mark.parametrize(
    ("wanted", "resting", "ready", "phase"),
    [
        (1, True, False, AppPhase.ACTIVE),  # it is being woken
        (1, False, True, AppPhase.ACTIVE),
        (1, False, False, AppPhase.DEPLOYING),  # its replica has died
    ],
)
def test_one_that_is_to_have_replicas_does_not_sleep(
    wanted: int, resting: bool, ready: bool, phase: AppPhase
) -> None:
    info = told(wanted, resting, ready)

    assert (info.phase, info.asleep, info.replicas) == (phase, False, 1)
    assert _app_in_words(info)["phase"] == str(phase)


def test_one_that_could_not_be_woken_says_why_and_may_be_asked_again() -> None:
    info = told(0, resting=True, error=ErrorInfo(code="E", message="no"))

    assert (info.phase, info.asleep, info.error) == (AppPhase.ACTIVE, True, ErrorInfo(code="E", message="no"))


def test_a_stopped_app_is_not_asleep() -> None:
    assert not told(0, resting=True, desired="stopped").asleep


def test_an_app_whose_versions_share_its_requests_is_active_when_all_of_them_are_ready() -> None:
    app = replace(app_record(serving="v1"), shares={"v2": 10}, routed={"v2": 10})

    def phase(second: VersionPhase) -> AppPhase:
        versions = {"v1": version_record(), "v2": version_record("v2", second, backend=1)}
        return app_info(app, versions, [replica_record()], CLUSTER).phase

    assert phase(VersionPhase.DEPLOYING) is AppPhase.DEPLOYING
    assert phase(VersionPhase.READY) is AppPhase.ACTIVE
