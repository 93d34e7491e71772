"""A batch executes its calls one after the other, and gives back what has not begun in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from flyteray._plan.info import ErrorInfo
from flyteray._plan.values import pickling
from flyteray._tasks.batches.batch import LATE_S, Batch, Told, pack
from flyteray._tasks.call import ActionFailed, Call
from flyteray.errors import RuntimeSystemError


def call(action: str) -> Call:
    return Call(action, 0, "run", "a0", "env.task", "bundle", "module", "task", (), ())


def batch(execute: Callable[[Call, Any], Any], count: int = 3, loads: Callable[[], int] = lambda: 0) -> Batch:
    packed = pack([(call(f"a{number}"), pickling.dump({"x": number}).header) for number in range(count)])
    return Batch(packed, lambda call, arguments: execute(call, pickling.load(arguments)), loads)


def ran(made: Batch) -> Told:
    made.run()
    return made.take()


def test_calls_and_inputs_arrive_and_values_go_back_in_order() -> None:
    told = ran(batch(lambda call, inputs: (call.action, inputs["x"])))
    assert [pickling.load(each.value) for each in told.outcomes if each.value] == [
        ("a0", 0),
        ("a1", 1),
        ("a2", 2),
    ]
    assert not told.given_back
    assert all(each.seconds is not None and each.seconds >= 0 for each in told.outcomes)


def test_an_error_is_that_of_its_call_alone() -> None:
    def execute(call: Call, inputs: dict[str, int]) -> int:
        if inputs["x"] == 0:
            raise ActionFailed(ErrorInfo(code="ValueError", message="no"))
        if inputs["x"] == 1:
            raise RuntimeSystemError("NoSecret", "there is none")
        raise KeyError("ours")

    told = ran(batch(execute))
    first, second, third = (each.error for each in told.outcomes)
    assert isinstance(first, ActionFailed)
    assert first.info.message == "no"
    assert isinstance(second, RuntimeSystemError)
    assert isinstance(third, ActionFailed)
    assert third.info.code == "KeyError"


def test_what_can_not_be_pickled_is_the_failure_of_its_call() -> None:
    told = ran(batch(lambda call, inputs: threading.Lock() if inputs["x"] == 1 else inputs["x"]))
    assert [each.error is None for each in told.outcomes] == [True, False, True]


def test_what_has_not_begun_when_it_is_late_is_given_back() -> None:
    def execute(call: Call, inputs: dict[str, int]) -> int:
        until = time.monotonic() + (2 * LATE_S if inputs["x"] == 0 else 0)
        while time.monotonic() < until:
            pass
        return inputs["x"]

    told = ran(batch(execute))
    assert [each.number for each in told.outcomes] == [0]
    assert list(told.given_back) == [1, 2]


def test_what_is_given_back_while_a_call_runs_does_not_begin() -> None:
    made: Batch

    def execute(call: Call, inputs: dict[str, int]) -> int:
        assert made.give_back() is (inputs["x"] == 1)
        return inputs["x"]

    made = batch(lambda call, inputs: execute(call, inputs) if inputs["x"] == 1 else 0)
    made.run()
    told = made.take()
    assert [each.number for each in told.outcomes] == [0, 1]
    assert list(told.given_back) == [2]
    assert not made.give_back()


def test_the_last_call_has_nothing_behind_it_to_give_back() -> None:
    made = batch(lambda call, inputs: made.give_back(), count=1)
    assert [pickling.load(each.value) for each in ran(made).outcomes if each.value] == [False]


def test_large_outputs_end_a_batch() -> None:
    told = ran(batch(lambda call, inputs: bytes(2 << 20)))
    assert [each.number for each in told.outcomes] == [0]
    assert list(told.given_back) == [1, 2]


def test_the_time_of_a_call_whose_code_was_loaded_says_nothing() -> None:
    loads = iter([0, 1, 1, 1, 1, 1])
    told = ran(batch(lambda call, inputs: None, loads=lambda: next(loads)))
    assert [each.seconds is None for each in told.outcomes] == [True, False, False]
