from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from flyteray._control.apps.reconcile import (
    REPLACED_DRAIN,
    STOPPED_DRAIN,
    Deploy,
    Drain,
    Promote,
    Ready,
    Resume,
    Retire,
    TakeBack,
    ingress_state,
    next_steps,
)
from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord
from flyteray._ingress.routes import OVER_HTTP2, Copying, Slot
from flyteray._plan.info import ErrorInfo
from flyteray._plan.spec import EnvironmentSpec, ImageSpec, ScalingSpec
from flyteray._plan.traffic.shadow import ShadowRecord, ShadowSpec
from tests.unit.builders import NOON, app_record, app_spec, replica_record, version_record

NOW = NOON
SPEC = app_spec(replicas=2)


def app(target: str, serving: str | None = None, desired: str = "active") -> AppRecord:
    return app_record("a", target, serving, desired=desired)


def version(name: str, phase: VersionPhase, backend: int | None = 1) -> VersionRecord:
    return version_record(name, phase, SPEC, backend)


def drained(name: str, ago: timedelta) -> VersionRecord:
    return replace(version(name, VersionPhase.DRAINING), draining_since=NOW - ago)


def test_a_new_target_is_deployed_beside_the_version_that_serves() -> None:
    steps = next_steps(
        [app("v2", "v1")],
        [version("v1", VersionPhase.READY), version("v2", VersionPhase.PENDING, None)],
        [],
        {},
        NOW,
    )

    assert steps == [Deploy("v2")]


def test_a_blocked_replica_gets_no_requests_while_another_of_its_version_is_free() -> None:
    free = replica_record("v1", 1)
    blocked = replica_record("v1", 2)
    blocked = replace(blocked, info=blocked.info.model_copy(update={"blocked": True}))
    other = replace(replica_record("v2", 1), slot=1)
    other = replace(other, info=other.info.model_copy(update={"blocked": True}))
    versions = [version("v1", VersionPhase.READY), version("v2", VersionPhase.READY, 2)]

    state = ingress_state([app("v2", "v1")], versions, [free, blocked, other])

    assert set(state.slots(1)) == {1}
    assert set(state.slots(2)) == {1}  # the only one there is


def test_a_replica_whose_server_takes_no_requests_gets_none_either() -> None:
    unwell = replica_record("v1", 1)
    unwell = replace(unwell, info=unwell.info.model_copy(update={"unwell": True}))

    state = ingress_state(
        [app("v1", "v1")], [version("v1", VersionPhase.READY)], [unwell, replica_record("v1", 2)]
    )

    assert set(state.slots(1)) == {2}


def test_what_speaks_http_2_is_known_by_its_version_also_before_it_is_there() -> None:
    serves, comes = version("v1", VersionPhase.READY), version("v2", VersionPhase.PENDING, None)
    comes = replace(comes, spec=comes.spec.model_copy(update={"protocol": "h2c"}))
    of_http2 = replace(serves, spec=comes.spec)

    before = ingress_state([app("v1", None)], [replace(comes, id="v1")], [])
    beside = ingress_state([app("v2", "v1")], [serves, comes], [replica_record("v1", 1)])
    after = ingress_state([app("v1", "v1")], [of_http2], [replica_record("v1", 1)])

    assert (before.coming, before.coming_http2) == ({"a"}, {"a"})
    assert (set(beside.slots(1)), beside.http2, beside.coming_http2) == ({1}, set(), set())
    assert (set(after.slots(1)), after.http2) == ({OVER_HTTP2 + 1}, {1})
    assert after.names["b1/g1"] == "v1-1"


def test_a_replica_that_is_silent_gets_no_requests_either() -> None:
    versions = [version("v1", VersionPhase.READY)]
    replicas = [replica_record("v1", 1), replica_record("v1", 2)]

    assert set(ingress_state([app("v1", "v1")], versions, replicas, silent={"v1-2"}).slots(1)) == {1}
    assert set(ingress_state([app("v1", "v1")], versions, replicas, silent={"v1-1", "v1-2"}).slots(1)) == {
        1,
        2,
    }


def test_it_is_promoted_only_when_all_of_its_replicas_are_ready() -> None:
    versions = [version("v2", VersionPhase.DEPLOYING)]

    assert next_steps([app("v2")], versions, [replica_record("v2", 1)], {}, NOW) == []
    assert next_steps([app("v2")], versions, [replica_record("v2", 1), replica_record("v2", 2)], {}, NOW) == [
        Promote("v2", "a")
    ]


def test_the_replaced_version_drains_and_retires_when_nothing_is_open_any_more() -> None:
    ready = version("v1", VersionPhase.READY)
    serving = version("v2", VersionPhase.READY, 2)

    assert next_steps([app("v2", "v2")], [ready, serving], [], {}, NOW) == [Drain("v1")]
    waiting = drained("v1", timedelta(seconds=5))
    assert next_steps([app("v2", "v2")], [waiting, serving], [], {1: 1}, NOW) == []
    assert next_steps([app("v2", "v2")], [waiting, serving], [], {1: 0}, NOW) == [Retire("v1")]


def test_an_unknown_number_of_sessions_is_not_none() -> None:
    assert next_steps([app("v2", "v2")], [drained("v1", timedelta(seconds=5))], [], {}, NOW) == []


def test_a_version_is_not_retired_in_the_moment_its_route_was_taken_away() -> None:
    assert next_steps([app("v2", "v2")], [drained("v1", timedelta(seconds=0.1))], [], {1: 0}, NOW) == []


def test_open_connections_of_a_replaced_version_have_longer_than_those_of_a_stopped_app() -> None:
    old = drained("v1", STOPPED_DRAIN)

    assert next_steps([app("v2", "v2")], [old], [], {1: 1}, NOW) == []
    assert next_steps([app("v2", "v2", "stopped")], [old], [], {1: 1}, NOW) == [Retire("v1")]
    assert next_steps([app("v2", "v2")], [drained("v1", REPLACED_DRAIN)], [], {1: 1}, NOW) == [Retire("v1")]


def test_a_draining_version_that_is_wanted_again_needs_no_new_start() -> None:
    serving = version("v2", VersionPhase.READY, 2)

    assert next_steps([app("v1", "v2")], [drained("v1", timedelta(0)), serving], [], {}, NOW) == [
        Resume("v1")
    ]
    assert next_steps([app("v1", "v2")], [version("v1", VersionPhase.READY), serving], [], {}, NOW) == [
        Promote("v1", "a")
    ]


def test_a_failed_target_leaves_the_serving_version_alone() -> None:
    versions = [version("v1", VersionPhase.READY), version("v2", VersionPhase.FAILED, None)]

    assert next_steps([app("v2", "v1")], versions, [], {}, NOW) == []


def test_a_target_that_is_overtaken_while_it_comes_up_is_retired() -> None:
    versions = [version("v2", VersionPhase.DEPLOYING), version("v3", VersionPhase.PENDING, None)]

    assert next_steps([app("v3", None)], versions, [], {}, NOW) == [Retire("v2"), Deploy("v3")]


def test_after_the_cluster_was_lost_the_serving_version_comes_up_even_when_the_target_had_failed() -> None:
    versions = [version("v1", VersionPhase.PENDING, None), version("v2", VersionPhase.FAILED, None)]

    assert next_steps([app("v2", "v1")], versions, [], {}, NOW) == [Deploy("v1")]


def test_requests_go_to_the_replicas_of_the_serving_version() -> None:
    versions = [version("v1", VersionPhase.READY, 3), version("v2", VersionPhase.DEPLOYING, 4)]

    state = ingress_state([app("v2", "v1")], versions, [replica_record("v1", 1), replica_record("v2", 2)])

    assert dict(state.apps) == {"a": 3}
    assert state.backends == {3: {1: Slot("127.0.0.1", 4001)}, 4: {2: Slot("127.0.0.1", 4002)}}
    assert state.names == {"b3": "v1", "b3/s1": "v1-1", "b4": "v2", "b4/s2": "v2-2"}


SLEEPY = SPEC.model_copy(
    update={
        "scaling": ScalingSpec(most=1, by="concurrency", share=1, scaledown_after_s=1, sleeps_after_s=1),
        "request_timeout_s": 2.0,
        "startup_timeout_s": 30.0,
    }
)


def test_requests_wait_for_a_version_unless_it_could_not_start() -> None:
    sleepy = replace(version("v1", VersionPhase.READY), spec=SLEEPY)
    failed = replace(sleepy, error=ErrorInfo(code="E", message="m"))
    busy = version("v1", VersionPhase.READY)

    def waits(record: VersionRecord, resting: tuple[str, ...] = ()) -> dict[str, int]:
        return dict(ingress_state([app("v1", "v1")], [record], [], resting=resting).waits)

    assert waits(sleepy) == waits(failed, ("v1",)) == {"a": 30_000}
    assert waits(busy) == {"a": 300_000}  # its only replica may have died
    assert waits(failed) == {}
    assert waits(replace(sleepy, phase=VersionPhase.DEPLOYING)) == {"a": 30_000}  # the cluster was restarted
    assert ingress_state([app("v1", "v1", "stopped")], [sleepy], []).waits == {}


def test_the_time_of_an_answer_begins_when_there_is_a_replica() -> None:
    sleepy = replace(version("v1", VersionPhase.READY, 0), spec=SLEEPY)

    assert ingress_state([app("v1", "v1")], [sleepy], []).timeouts == {"a": 32_000}
    assert ingress_state([app("v1", "v1")], [sleepy], [replica_record("v1")]).timeouts == {"a": 2000}


def test_requests_wait_for_an_app_that_comes_up_for_the_first_time_until_it_could_not_or_is_stopped() -> None:
    pending = version("v1", VersionPhase.PENDING, None)
    deploying = version("v1", VersionPhase.DEPLOYING, 3)
    failed = replace(pending, phase=VersionPhase.FAILED, error=ErrorInfo(code="KeyError", message="'x'"))

    asked = ingress_state([app("v1")], [pending], [])
    starting = ingress_state(
        [app("v1")], [deploying], [replica_record("v1")], lacking={"v1": "waits for 9 CPUs"}
    )
    refused = ingress_state([app("v1")], [failed], [])
    stopped = ingress_state([app("v1", None, "stopped")], [deploying], [])

    assert (asked.apps, asked.coming, asked.waits) == ({"a": None}, {"a"}, {"a": 300_000})
    assert (starting.apps, starting.coming, starting.waits) == ({"a": 3}, frozenset(), {"a": 300_000})
    assert starting.slots(3) == {
        1: Slot("127.0.0.1", 4001)
    }  # the first replica answers, before all are there
    assert (refused.apps, refused.coming, refused.waits) == ({"a": None}, {"a"}, {})
    assert (stopped.apps, stopped.coming, stopped.waits) == ({"a": None}, frozenset(), {})
    assert starting.reasons == {"a": "it waits for 9 CPUs"}
    assert refused.reasons == {"a": "it could not start: KeyError: 'x'"}


def test_requests_wait_longer_for_one_whose_image_may_have_to_be_built() -> None:
    environment = EnvironmentSpec(image=ImageSpec(name="i"))
    built = replace(
        version("v1", VersionPhase.PENDING, None), spec=SPEC.model_copy(update={"environment": environment})
    )

    assert ingress_state([app("v1")], [built], []).waits == {"a": 2_100_000}


def test_a_stopped_app_has_a_name_and_no_backend() -> None:
    state = ingress_state([app("v1", "v1", "stopped")], [version("v1", VersionPhase.DRAINING)], [])

    assert dict(state.apps) == {"a": None}


def test_versions_with_a_share_come_up_beside_the_one_that_serves_and_have_it_together() -> None:
    shared = replace(app("v1", "v1"), shares={"v2": 10, "v3": 0})
    ready = version("v1", VersionPhase.READY)
    up = [replica_record("v2", 1), replica_record("v2", 2)]

    def steps(v2: VersionPhase, v3: VersionPhase, now: AppRecord = shared) -> list[object]:
        versions = [ready, version("v2", v2, 2), version("v3", v3, 3)]
        return [*next_steps([now], versions, up, {}, NOW)]

    assert steps(VersionPhase.RETIRED, VersionPhase.PENDING) == [Deploy("v2"), Deploy("v3")]
    assert steps(VersionPhase.DEPLOYING, VersionPhase.DEPLOYING) == [Ready("v2")]
    assert steps(VersionPhase.READY, VersionPhase.DEPLOYING) == []
    none = replace(app("v1", "v1"), shares={"v2": 10})  # what it waits for is said to be ready first
    two = [ready, version("v2", VersionPhase.DEPLOYING, 2)]
    assert next_steps([none], two, up, {}, NOW) == [Ready("v2"), Promote("v1", "a")]
    assert steps(VersionPhase.READY, VersionPhase.READY) == [Promote("v1", "a")]
    assert steps(VersionPhase.READY, VersionPhase.READY, shared.promoted(NOW)) == []
    assert steps(VersionPhase.READY, VersionPhase.FAILED) == [TakeBack("v3", "a")]
    assert steps(VersionPhase.READY, VersionPhase.READY, replace(app("v1", "v1"), routed={"v2": 10})) == [
        Promote("v1", "a"),  # all is for v1 again
        Drain("v3"),
    ]


def test_a_target_waits_for_those_that_are_to_have_a_share_beside_it() -> None:
    versions = [version("v1", VersionPhase.READY), version("v2", VersionPhase.DEPLOYING, 2)]
    replicas = [replica_record("v2", 1), replica_record("v2", 2)]
    wanted = replace(app("v2", "v1"), shares={"v3": 40})

    assert next_steps([wanted], [*versions, version("v3", VersionPhase.DEPLOYING, 3)], replicas, {}, NOW) == [
        Ready("v2")
    ]
    assert next_steps([wanted], [*versions, version("v3", VersionPhase.READY, 3)], replicas, {}, NOW) == [
        Promote("v2", "a")
    ]


def test_the_ingress_copies_requests_for_a_shadow_that_can_take_them() -> None:
    running = ShadowRecord(name="s1", spec=ShadowSpec(parts=1000, safe_only=True))
    shared = replace(app("v1", "v1"), routed={"v2": 0, "v3": 0})
    v1, v2, v3 = (version(name, VersionPhase.READY, int(name[1])) for name in ("v1", "v2", "v3"))
    shadow = replace(v2, shadow=running)
    replicas = [replica_record(name, 1) for name in ("v1", "v2", "v3")]

    def copied(*versions: VersionRecord, known: AppRecord = shared, **fields: Any) -> object:
        return ingress_state([known], versions, fields.pop("replicas", replicas), **fields).shadows

    assert copied(v1, shadow, v3) == {"a": Copying("s1", 2, 1, 1000, safe_only=True)}
    assert copied(v1, shadow, v3, replicas=replicas[:1]) == {}  # it has none
    assert copied(v1, shadow, v3, replicas=replicas[:1], resting={"v2"}).keys() == {"a"}  # type: ignore[attr-defined]
    assert copied(v1, replace(shadow, phase=VersionPhase.DEPLOYING), v3) == {}
    assert copied(v1, replace(v2, shadow=running.ended("it was promoted")), v3) == {}
    assert copied(v1, v2, v3) == {}
    assert copied(v1, shadow, v3, known=replace(shared, routed={"v2": 5})) == {}
    assert copied(v1, shadow, v3, known=replace(shared, desired="stopped")) == {}


def test_the_ingress_divides_requests_among_versions_that_can_take_them() -> None:
    shared = replace(app("v1", "v1"), routed={"v2": 10, "v3": 5, "v4": 0}, sticks="cookie")
    versions = [
        version("v1", VersionPhase.READY, 1),
        version("v2", VersionPhase.READY, 2),
        version("v3", VersionPhase.READY, 3),  # has no replica
        version("v4", VersionPhase.READY, 4),
    ]
    replicas = [replica_record(name, 1) for name in ("v1", "v2", "v4")]

    state = ingress_state([shared], versions, replicas)

    assert (state.apps, state.shares, state.sticks) == ({"a": 1}, {"a": {2: 10}}, {"a": "cookie"})
    assert ingress_state([shared], versions, replicas, resting={"v3"}).shares == {"a": {2: 10, 3: 5}}
    stopped = ingress_state([replace(shared, desired="stopped")], versions, replicas)
    assert (stopped.shares, stopped.versions) == ({}, {})
