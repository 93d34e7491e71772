from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import pytest

import flyteray as flyte
from flyteray.errors import TraceDoesNotAllowNestedTasksError

env = flyte.TaskEnvironment(name="traced")
local = flyte.with_runcontext(mode="local")
CALLS: list[Any] = []


class Busy(Exception):
    pass


@dataclass
class Client:
    lock: Any


@flyte.trace
def plain(number: int) -> int:
    """What it does."""
    CALLS.append(number)
    if number < 0:
        raise Busy(number)
    return number + 1


@flyte.trace
async def slow(number: int = 1) -> int:
    await asyncio.sleep(0)
    CALLS.append(number)
    return plain(number)


@flyte.trace
def items(count: int) -> Generator[int, str | None, str]:
    CALLS.append("items")
    said = []
    for number in range(count):
        said.append((yield number))  # noqa: PERF401  # one after the other
    return "".join(each or "-" for each in said)


@flyte.trace
async def stream(count: int) -> AsyncGenerator[int, None]:
    CALLS.append("stream")
    for number in range(count):
        yield number
    if count == 3:
        raise Busy("after three")


@flyte.trace
def unpicklable() -> Client:
    CALLS.append("unpicklable")
    return Client(threading.Lock())


@flyte.trace
def whose() -> tuple[str, str]:
    here = flyte.ctx()
    assert here.action is not None
    assert here.task_action is not None
    return here.action.name, here.task_action.name


@pytest.fixture(autouse=True)
def calls() -> list[Any]:
    CALLS.clear()
    return CALLS


async def _all(stream: AsyncGenerator[int, None]) -> tuple[list[int], str]:
    got = []
    try:
        async for item in stream:
            got.append(item)  # noqa: PERF401  # what came before the error
    except Busy as error:
        return got, str(error)
    return got, ""


@env.task(retries=1)
async def everything() -> list[Any]:
    try:
        plain(-1)
        raise AssertionError
    except Busy as error:
        raised = error.args
    talk = items(3)
    said = [next(talk), talk.send("a"), talk.send("b")]
    try:
        talk.send("c")
    except StopIteration as end:
        said.append(end.value)
    got = [plain(1), plain(1), plain(2), await slow(5), await slow(), *raised, said]
    got += [await _all(stream(2)), await _all(stream(3)), await asyncio.gather(slow(7), slow(8))]
    if flyte.ctx().attempt_number == 0:
        CALLS.append("again")
        raise ValueError("once")
    return got


def test_what_was_called_in_an_earlier_attempt_is_not_called_again_and_gives_the_same(
    calls: list[Any],
) -> None:
    output = local.run(everything).outputs()[0]

    said = [0, 1, 2, "abc"]
    expected = [2, 2, 3, 6, 2, -1, said, ([0, 1], ""), ([0, 1, 2], "after three"), [8, 9]]
    assert output == expected
    assert calls.index("again") == len(calls) - 1
    assert calls.count(1) == 4  # plain twice, slow and what it calls


@env.task
async def outside_and_inside() -> tuple[str, tuple[str, str], tuple[str, str]]:
    here = flyte.ctx()
    assert here.action is not None
    return here.action.name, whose(), whose()


def test_a_trace_is_an_action_of_its_own_below_the_task() -> None:
    task, first, second = local.run(outside_and_inside).outputs()

    assert task == first[1] == second[1] == "a0"
    assert len({task, first[0], second[0]}) == 3


def test_outside_tasks_a_traced_function_is_itself(calls: list[Any]) -> None:
    assert plain(1) == plain(1) == 2
    assert list(items(2)) == [0, 1]
    assert asyncio.run(_all(stream(2))) == ([0, 1], "")
    assert asyncio.run(slow()) == 2
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "What it does."
    with pytest.raises(Busy):
        plain(-1)
    assert calls == [1, 1, "items", "stream", 1, 1, -1]


@env.task(retries=1)
def with_what_can_not_be_pickled() -> int:
    unpicklable()
    if flyte.ctx().attempt_number == 0:
        raise ValueError("once")
    return 1


def test_a_value_that_can_not_be_pickled_is_told_and_made_again(
    calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    local.run(with_what_can_not_be_pickled)

    assert calls == ["unpicklable", "unpicklable"]
    assert "test_trace.unpicklable will be called again" in caplog.text
    assert "lock" in caplog.text


@env.task(retries=1)
def leaves_early() -> int:
    first = next(items(3))
    for item in items(2):
        CALLS.append(item)
        break
    if flyte.ctx().attempt_number == 0:
        raise ValueError("once")
    return first


def test_a_generator_that_was_left_is_called_again(calls: list[Any]) -> None:
    local.run(leaves_early)

    assert calls == ["items", "items", 0] * 2


@env.task
def child() -> int:
    return 1


@flyte.trace
def calls_a_task() -> int:
    return child()


@flyte.trace
async def awaits_a_task() -> int:
    return await child.aio()


@flyte.trace
def calls_it_plainly() -> int:
    return child.forward()


@env.task
async def nested() -> list[str]:
    told = []
    for call in (lambda: asyncio.to_thread(calls_a_task), awaits_a_task):
        try:
            await call()
        except TraceDoesNotAllowNestedTasksError as error:
            told.append(str(error))
    assert calls_it_plainly() == 1
    return told


def test_a_task_can_not_be_called_in_a_trace() -> None:
    told = local.run(nested).outputs()[0]

    assert len(told) == 2
    assert all("'traced.child'" in each and "child.forward(...)" in each for each in told)


@pytest.mark.parametrize("wrong", [child, 3])
def test_a_task_or_what_is_no_function_can_not_be_traced(wrong: Any) -> None:
    with pytest.raises(TypeError, match="trace takes a function"):
        flyte.trace(wrong)
