"""What happens between the last request of an app and the end of its last replica."""

from __future__ import annotations

from flyteray._control.apps.falling_asleep import FallingAsleep

SLEEP, WAKE = {"v1": 0}, {"v1": 1}


def test_replicas_end_when_no_request_has_come_since_none_is_sent_to_them() -> None:
    falling = FallingAsleep()

    assert falling.due(SLEEP, {"v1"}, at=0) == {}
    assert falling.versions == {"v1"}
    assert falling.due(SLEEP, {"v1"}, at=1) == {}
    assert falling.due(SLEEP, {"v1"}, at=2) == SLEEP


def test_a_request_that_comes_meanwhile_has_them_back_at_once() -> None:
    falling = FallingAsleep()
    falling.due(SLEEP, {"v1"}, at=0)

    assert falling.due({}, {"v1"}, at=1) == {}  # that there should be one changes nothing: it is still there
    assert falling.versions == set()
    assert falling.due(SLEEP, {"v1"}, at=2) == {}  # the time begins anew


def test_others_are_asked_for_when_those_that_end_have_said_so() -> None:
    falling = asleep(at=2)

    assert falling.due(WAKE, {"v1"}, at=3) == {}
    assert falling.versions == {"v1"}  # they are sent no request, although they still seem to be ready
    assert falling.due(WAKE, set(), at=4) == WAKE
    assert falling.versions == set()


def test_replicas_that_do_not_say_that_they_end_are_not_waited_for_without_end() -> None:
    falling = asleep(at=2)

    assert falling.due(WAKE, {"v1"}, at=11.9) == {}
    assert falling.due(WAKE, {"v1"}, at=12) == WAKE
    assert falling.versions == set()


def test_what_could_not_be_asked_for_is_asked_for_again() -> None:
    falling = FallingAsleep()
    falling.due(SLEEP, {"v1"}, at=0)
    assert falling.due(SLEEP, {"v1"}, at=2) == SLEEP

    assert falling.due(SLEEP, {"v1"}, at=3) == SLEEP
    assert falling.versions == {"v1"}


def test_one_without_a_replica_sleeps_at_once_and_other_changes_do_not_wait() -> None:
    changes = {"none": 0, "fewer": 1, "more": 3}

    assert FallingAsleep().due(changes, {"fewer", "more"}, at=0) == changes


def asleep(at: float) -> FallingAsleep:
    """A version that Serve was asked to end at this time."""
    falling = FallingAsleep()
    falling.due(SLEEP, {"v1"}, at=at - 2)
    falling.due(SLEEP, {"v1"}, at=at)
    falling.asked("v1", 0, at)
    return falling
