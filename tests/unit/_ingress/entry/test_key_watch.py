"""Keys that end are looked for in time, and again where that failed."""

from __future__ import annotations

import time
from collections.abc import Callable

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.key_watch import KeyWatch
from tests.waiting import eventually


class Ends:
    """What was found to be good, each time that it was asked for; the first times fail."""

    def __init__(self, failures: int = 0) -> None:
        self.found: list[set[str]] = []
        self._failures = failures

    def __call__(self, is_good: Callable[[str], bool]) -> None:
        self._failures -= 1
        if self._failures >= 0:
            raise OSError("HAProxy starts")
        self.found.append({digest for digest in ("1", "2") if is_good(digest)})


def test_keys_that_are_gone_and_those_whose_time_is_over_end() -> None:
    ends = Ends()
    watch = KeyWatch(ends)
    try:
        over = int(time.time()) + 2
        watch.watch({"1": Grant("ann"), "2": Grant("bob", expires=over)})
        eventually(lambda: {"1", "2"} in ends.found)
        eventually(lambda: ends.found[-1] == {"1"})
        late_s = time.time() - over
        watch.watch({})
        eventually(lambda: ends.found[-1] == set())
    finally:
        watch.stop()

    assert late_s < 1


def test_what_could_not_be_ended_is_tried_again() -> None:
    ends = Ends(failures=3)
    watch = KeyWatch(ends)
    try:
        watch.watch({"2": Grant("ann")})
        eventually(lambda: {"2"} in ends.found)
    finally:
        watch.stop()


def test_while_there_are_no_keys_nobody_looks() -> None:
    ends = Ends()
    KeyWatch(ends).watch({})

    assert ends.found == []
