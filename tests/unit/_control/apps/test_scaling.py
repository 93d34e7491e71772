"""The number of replicas over time, for traffic that is made up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyteray._control.apps.scaling import Autoscaler, ReplicaCounts
from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._plan.spec import ScalingSpec
from flyteray._plan.traffic.advice import Advice
from flyteray._plan.traffic.figures import NONE_YET, Figures, place
from flyteray.app import Signals
from tests.unit.builders import app_spec, version_record


def following(
    share: float = 10, most: int = 4, least: int = 1, current: int = 1, **fields: Any
) -> Autoscaler:
    given: dict[str, Any] = {"by": "concurrency", "scaledown_after_s": 5, **fields}
    return Autoscaler(ScalingSpec(most=most, share=share, **given), least, current)


def each_second(scaler: Autoscaler, in_flight: Iterable[int], start: int = 0) -> list[int]:
    return [scaler.wanted(start + second, now, 0) for second, now in enumerate(in_flight)]


def test_more_requests_at_one_time_ask_for_more_replicas() -> None:
    assert each_second(following(), [0, 10, 25, 25, 25, 25]) == [1, 1, 2, 2, 3, 3]


def test_there_are_never_more_than_the_most_nor_fewer_than_the_least() -> None:
    assert each_second(following(), [1000] * 3) == [4, 4, 4]
    assert each_second(following(least=2, current=2, scaledown_after_s=0), [0] * 3) == [2, 2, 2]


def test_a_share_that_is_just_filled_is_enough() -> None:
    assert each_second(following(share=10), [20] * 4) == [2, 2, 2, 2]
    assert each_second(following(share=3), [9] * 4) == [3, 3, 3, 3]


def test_fewer_replicas_must_be_enough_for_a_while_before_there_are_fewer() -> None:
    scaler = following(current=3)

    assert each_second(scaler, [30] + [0] * 10) == [3] * 6 + [2] + [1] * 4


def test_a_short_pause_takes_no_replica_away() -> None:
    scaler = following()
    each_second(scaler, [30] * 6)

    assert set(each_second(scaler, [0, 0, 0, 30, 30, 30, 0, 0, 0, 30], start=6)) == {3}


def test_what_was_there_before_anything_was_seen_is_not_taken_away_at_once() -> None:
    assert each_second(following(current=4), [0] * 7) == [4] * 5 + [1, 1]


def test_a_number_out_of_new_bounds_is_brought_within_them() -> None:
    assert following(most=2, current=9).wanted(0, 0, 0) == 2
    assert following(least=2, current=1).wanted(0, 0, 0) == 2


def test_the_rate_of_requests_asks_for_replicas() -> None:
    scaler = following(by="request_rate", share=5)

    assert [scaler.wanted(second, 0, second * 12) for second in range(4)] == [1, 3, 3, 3]


def sleepy(after: float = 5, current: int = 1, **fields: Any) -> Autoscaler:
    return following(current=current, sleeps_after_s=after, **fields)


def test_without_a_request_for_a_while_there_is_no_replica() -> None:
    assert each_second(sleepy(), [0] * 7) == [1] * 5 + [0, 0]
    assert each_second(following(), [0] * 20) == [1] * 20


def test_an_open_connection_or_a_request_between_two_looks_keeps_it_awake() -> None:
    scaler = sleepy()

    assert set(each_second(scaler, [1] * 20)) == {1}
    assert [scaler.wanted(20 + second, 0, 3 + second // 3) for second in range(12)] == [1] * 12


def test_work_that_goes_on_after_the_answers_keeps_it_awake() -> None:
    scaler = following(sleeps_after_s=3)

    assert [scaler.wanted(second, 0, 0, working=second < 10) for second in range(14)] == [1] * 12 + [0, 0]


def test_the_first_request_wakes_it() -> None:
    scaler = sleepy(current=0)

    assert each_second(scaler, [0, 0, 1, 0]) == [0, 0, 1, 1]
    assert sleepy(current=0, by="request_rate").wanted(0, 1, 1) == 1
    assert scaler.wanted(100, 0, 0) == 0
    assert scaler.wanted(101, 0, 1) == 1  # it was answered already


def test_many_that_wait_wake_as_many_as_they_need() -> None:
    assert each_second(sleepy(current=0), [0, 0, 0, 0, 25, 25, 25])[-2:] == [2, 2]
    assert each_second(sleepy(current=0), [25, 25]) == [3, 3]


def test_without_patience_it_must_still_be_seen_to_be_unused() -> None:
    assert each_second(sleepy(after=0, scaledown_after_s=0), [0] * 4) == [1, 1, 1, 0]


def test_several_replicas_go_one_by_one_before_the_last() -> None:
    scaler = sleepy(after=20, current=3)

    assert each_second(scaler, [30] + [0] * 21) == [3] * 6 + [2] + [1] * 13 + [0, 0]


def test_a_restarted_ingress_wakes_nobody() -> None:
    scaler = sleepy(current=0)

    assert [scaler.wanted(at, 0, total) for at, total in enumerate([500, 500, 0, 0])] == [0] * 4


def test_one_that_could_not_be_woken_sleeps_until_it_is_asked_again() -> None:
    scaler = sleepy(current=0)
    assert scaler.wanted(0, 1, 1) == 1

    scaler.rest()

    assert [scaler.wanted(1, 0, 1), scaler.wanted(2, 1, 2)] == [0, 1]


def test_a_count_that_starts_anew_is_no_burst() -> None:
    scaler = following(by="request_rate", share=5)

    assert [scaler.wanted(at, 0, total) for at, total in enumerate([10_000, 10_005, 3, 6])] == [1, 1, 1, 1]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10_000), st.integers(0, 10_000)), max_size=30),
    st.sampled_from(["concurrency", "request_rate"]),
)
def test_the_number_stays_within_the_bounds_whatever_is_seen(
    seen: list[tuple[float, int, int]], by: str
) -> None:
    scaler, now = following(by=by, least=2, most=5), 0.0
    for later, in_flight, total in seen:
        now += later

        assert 2 <= scaler.wanted(now, in_flight, total) <= 5


def version(phase: VersionPhase = VersionPhase.READY, name: str = "v1", **fields: Any) -> VersionRecord:
    policy = ScalingSpec(most=4, by="concurrency", share=1, scaledown_after_s=0)
    return version_record(name, phase, app_spec(**{"scaling": policy, **fields}), 7)


def test_a_version_that_serves_follows_its_traffic() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 1)

    assert counts.changes([version()], {"v1": 1}, {7: (3, 3)}, 0) == {"v1": 3}
    counts.asked("v1", 3)
    assert counts.wanted("v1") == 3
    assert counts.changes([version()], {"v1": 1}, {7: (3, 6)}, 1) == {}


def test_what_the_ingress_does_not_tell_changes_nothing() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 3)

    assert counts.changes([version()], {}, {}, 0) == {}


def test_after_a_restart_the_number_begins_with_the_replicas_that_are_there() -> None:
    patient = ScalingSpec(most=4, by="concurrency", share=1, scaledown_after_s=60)

    assert ReplicaCounts().changes([version(scaling=patient)], {"v1": 3}, {7: (0, 0)}, 0) == {"v1": 3}


SLEEPY = ScalingSpec(most=4, by="concurrency", share=1, scaledown_after_s=0, sleeps_after_s=60)


def test_a_version_that_sleeps_is_resting_until_a_replica_is_ready() -> None:
    counts, sleeper = ReplicaCounts(), version(scaling=SLEEPY)
    counts.asked("v1", 0)

    assert counts.changes([sleeper], {}, {7: (0, 0)}, 0) == {}
    assert (counts.wanted("v1"), counts.resting()) == (0, {"v1"})
    assert counts.changes([sleeper], {}, {}, 1) == {}
    assert counts.changes([sleeper], {}, {7: (1, 1)}, 2) == {"v1": 1}
    counts.asked("v1", 1)
    assert counts.changes([sleeper], {}, {7: (1, 1)}, 3) == {}
    assert counts.resting() == {"v1"}
    counts.changes([sleeper], {"v1": 1}, {7: (1, 1)}, 4)
    assert counts.resting() == set()


def test_the_last_replica_of_one_that_goes_to_sleep_does_not_end_its_rest() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 0)

    assert counts.changes([version(scaling=SLEEPY)], {"v1": 1}, {7: (0, 0)}, 0) == {}
    assert counts.resting() == {"v1"}


def test_one_that_could_not_be_woken_sleeps_again() -> None:
    counts, sleeper = ReplicaCounts(), version(scaling=SLEEPY)
    counts.asked("v1", 0)
    counts.changes([sleeper], {}, {7: (1, 1)}, 0)
    counts.asked("v1", 1)

    counts.failed("v1")

    assert counts.resting() == set()
    assert counts.changes([sleeper], {}, {7: (0, 1)}, 1) == {"v1": 0}
    counts.asked("v1", 0)
    assert counts.resting() == {"v1"}
    counts.failed("v1")  # told late
    assert counts.resting() == {"v1"}


def test_one_that_sleeps_and_is_to_sleep_no_more_is_woken() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 0)

    assert counts.changes([version(scaling=None)], {}, {}, 0) == {"v1": 1}
    assert counts.resting() == {"v1"}


def test_a_fixed_number_that_was_changed_is_asked_for_while_replicas_run() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 1)

    for phase in (VersionPhase.READY, VersionPhase.DEPLOYING):
        assert counts.changes([version(phase, scaling=None, replicas=2)], {}, {}, 0) == {"v1": 2}


def test_a_new_version_starts_with_as_many_replicas_as_the_one_it_replaces() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 9)
    coming = version(VersionPhase.DEPLOYING, "v2")

    assert counts.first(coming, "v1") == 4
    assert counts.first(coming, None) == counts.first(coming, "unknown") == 1
    assert counts.first(version(VersionPhase.DEPLOYING, "v2", scaling=None), "v1") == 1
    counts.asked("v2", 4)
    assert counts.changes([version(), coming], {}, {}, 0) == {"v1": 4}


def test_versions_that_are_over_are_forgotten() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 3)

    counts.changes([], {}, {}, 0)

    assert counts.wanted("v1") is None


def advised(**fields: Any) -> Autoscaler:
    return following(by="policy", policy="by_queue", **fields)


def test_a_policy_decides_within_the_bounds_and_fewer_come_later() -> None:
    scaler = advised(most=4, current=2)

    numbers = []
    for second, said in enumerate([2.2, 9, math.inf, 0, 0, 0, 0, 0, 0, -3]):
        scaler.advise(second, Advice(replicas=said))
        numbers.append(scaler.wanted(second, 0, 0))

    assert numbers == [3, 4, 4, 4, 4, 4, 4, 4, 1, 1]


@pytest.mark.parametrize(
    ("at", "advice", "why"),
    [
        (0, None, "its policy by_queue is yet to be asked, so it stays at 2"),
        (30, None, "its policy by_queue has not answered yet, so it stays at 2"),
        (30, (1, Advice(replicas=4)), "its policy by_queue has not answered for 29 s, so it stays at 2"),
        (30, (29, Advice(problem="raised E: no")), "its policy by_queue raised E: no, so it stays at 2"),
        (30, (29, Advice(replicas=3)), "its policy by_queue says 3"),
        (30, (29, Advice(replicas=30)), "its policy by_queue says 30, and the most is 4"),
        (30, (29, Advice(replicas=0)), "its policy by_queue says 0, and the least is 1"),
    ],
)
def test_what_a_policy_says_is_told_and_where_it_says_nothing_the_number_stays(
    at: float, advice: tuple[float, Advice] | None, why: str
) -> None:
    scaler = advised(current=2)
    scaler.wanted(0, 0, 0)
    if advice is not None:
        scaler.advise(*advice)
    for second in (at - 4, at - 2, at):
        scaler.wanted(second, 0, 0)

    assert scaler.why == why


def test_an_app_with_a_policy_sleeps_as_others_do() -> None:
    scaler = advised(sleeps_after_s=5, current=1)
    numbers = []
    for second in range(7):
        scaler.advise(second, Advice(replicas=3))
        numbers.append(scaler.wanted(second, 0, 0))

    assert numbers == [3] * 5 + [0, 0]
    assert "the next request wakes it" in scaler.why


def test_a_policy_is_told_what_is_known() -> None:
    scaler = advised(current=2)
    assert scaler.signals(1) == Signals(2, 1)
    slow = Figures(requests=100, errors=25, latencies=latencies(100_000, 100))
    scaler.wanted(0, 4, 1000)
    scaler.wanted(2, 8, 1200, figures=slow)

    told = scaler.signals(ready=1)

    assert (told.replicas, told.ready, told.open, told.requests_per_second) == (2, 1, 6, 100)
    assert told.error_rate == 0.25
    assert told.p50 is not None
    assert told.p95 is not None
    assert 0.08 < told.p50 < told.p95 <= 0.1


def latencies(us: int, count: int) -> tuple[int, ...]:
    return tuple(count if number == place(us) else 0 for number in range(len(NONE_YET)))


@pytest.mark.parametrize(
    ("fields", "loads", "why"),
    [
        ({}, [25] * 4, "25 requests at one time, 10 for each replica, need 3"),
        ({}, [500] * 4, "500 requests at one time, 10 for each replica, need 50, and the most is 4"),
        ({}, [0] * 9, "0 requests at one time, 10 for each replica, need 0, and the least is 1"),
        (
            {"current": 3},
            [0] * 4,
            "0 requests at one time, 10 for each replica, need 0, and the least is 1; "
            "3 stay until that has been enough for 5 s",
        ),
        ({"sleeps_after_s": 3}, [0] * 9, "it sleeps, as nobody uses it; the next request wakes it"),
    ],
)
def test_the_reason_of_a_number_is_told(fields: dict[str, Any], loads: list[int], why: str) -> None:
    scaler = following(**fields)
    each_second(scaler, loads)

    assert scaler.why == why


def test_a_rate_is_the_reason_too() -> None:
    scaler = following(by="request_rate", share=5)
    for second in range(4):
        scaler.wanted(second, 0, second * 12)

    assert scaler.why == "12 requests a second, 5 for each replica, need 3"


def test_advice_for_a_version_that_is_not_followed_yet_is_let_go() -> None:
    counts = ReplicaCounts()
    counts.asked("v1", 2)

    assert counts.advise("v1", 0, Advice(replicas=3), ready=1) == Signals(2, 1)
    assert counts.why("v1") is None
