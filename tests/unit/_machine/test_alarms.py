from __future__ import annotations

import queue
import threading

from flyteray._machine.alarms import Alarms
from tests.waiting import eventually

PATIENCE_S = 10.0


def test_alarms_come_in_the_order_of_their_times() -> None:
    alarms, came = Alarms(), queue.SimpleQueue[str]()
    alarms.after(0.2, lambda: came.put("late"))
    alarms.after(0.0, lambda: came.put("soon"))

    assert [came.get(timeout=PATIENCE_S) for _ in range(2)] == ["soon", "late"]


def test_one_that_is_cancelled_does_not_come() -> None:
    alarms, came = Alarms(), queue.SimpleQueue[str]()
    alarms.after(0.05, lambda: came.put("cancelled")).cancel()
    alarms.after(0.1, lambda: came.put("other"))

    assert came.get(timeout=PATIENCE_S) == "other"
    assert came.empty()


def test_one_that_takes_its_time_holds_up_no_other() -> None:
    alarms, came, go_on = Alarms(), queue.SimpleQueue[str](), threading.Event()
    alarms.after(0.0, go_on.wait)
    alarms.after(0.0, lambda: came.put("other"))

    assert came.get(timeout=PATIENCE_S) == "other"
    go_on.set()


def test_nobody_watches_where_there_is_nothing_to_come() -> None:
    alarms, came = Alarms(), threading.Event()

    def watches() -> bool:
        return any(thread.name == "flyteray-alarms" for thread in threading.enumerate())

    alarms.after(0.0, came.set)
    assert came.wait(PATIENCE_S)
    assert eventually(lambda: not watches())
    came.clear()
    alarms.after(0.0, came.set)
    assert came.wait(PATIENCE_S)
