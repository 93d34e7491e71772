"""``flyteray.map`` outside a run and in local mode."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray.errors import RemoteTaskUsageError, RuntimeUserError
from flyteray.remote import Task

env = flyte.TaskEnvironment(name="mapped")
local = flyte.with_runcontext(mode="local")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))


@env.task
def add(x: int, y: int = 100) -> int:
    return x + y


@env.task
async def later(x: int) -> int:
    await asyncio.sleep(0.001 * (5 - x))
    return x


@env.task
def fail_at_two(x: int) -> int:
    if x == 2:
        raise KeyError("two")
    return x


@env.task
async def three(a: int, b: int, c: int) -> tuple[int, int, int]:
    return a, b, c


def outputs(task: Any, *args: Any) -> Any:
    return local.run(task, *args).outputs()[0]


def in_a_sync_task(mapped: Any) -> Any:
    @env.task
    def parent() -> Any:
        return list(mapped())

    return outputs(parent)


def in_an_async_task(mapped: Any) -> Any:
    @env.task
    async def parent() -> Any:
        return list(mapped())

    return outputs(parent)


def outside(mapped: Any) -> Any:
    return list(mapped())


WHERE = pytest.mark.parametrize("where", [outside, in_a_sync_task, in_an_async_task])


@WHERE
def test_results_come_in_the_order_of_the_inputs(where: Any) -> None:
    assert where(lambda: flyte.map(add, [1, 2, 3])) == [101, 102, 103]
    assert where(lambda: flyte.map(later, range(5), concurrency=2)) == [0, 1, 2, 3, 4]


@WHERE
def test_several_iterables_end_with_the_shortest(where: Any) -> None:
    assert where(lambda: flyte.map(add, [1, 2, 3], [10, 20])) == [11, 22]
    assert where(lambda: flyte.map(add)) == []
    assert where(lambda: flyte.map(later, [])) == []


@WHERE
@pytest.mark.parametrize(
    ("partial", "expected"),
    [
        (functools.partial(three, 1, 2), (1, 2, 7)),
        (functools.partial(three, 1, c=3), (1, 7, 3)),
        (functools.partial(three, b=2, c=3), (7, 2, 3)),
    ],
)
def test_a_partial_leaves_one_input_wherever_it_is(where: Any, partial: Any, expected: Any) -> None:
    assert where(lambda: flyte.map(partial, [7])) == [expected]


@WHERE
def test_an_error_is_a_value_that_raises_itself_in_arithmetic_where_the_action_failed(where: Any) -> None:
    found = where(lambda: flyte.map(fail_at_two, range(4)))

    assert [found[0], found[1], found[3]] == [0, 1, 3]
    assert isinstance(found[2], Exception)
    if where is not outside:
        assert (found[2].code, type(found[2].__cause__)) == ("KeyError", KeyError)
        with pytest.raises(RuntimeUserError, match="two"):
            sum(found)


@WHERE
def test_the_first_error_is_raised_if_asked_for(where: Any) -> None:
    with pytest.raises((RuntimeUserError, KeyError), match="two"):
        where(lambda: flyte.map(fail_at_two, range(4), return_exceptions=False))


def test_the_async_form_does_the_same() -> None:
    @env.task
    async def parent() -> Any:
        sums = [each async for each in flyte.map.aio(add, [1, 2], [10, 20])]
        errors = [type(each).__name__ async for each in flyte.map.aio(fail_at_two, [1, 2])]
        with pytest.raises(RuntimeUserError, match="two"):
            [each async for each in flyte.map.aio(fail_at_two, [2], return_exceptions=False)]
        return sums, errors

    assert local.run(parent).outputs()[0] == ([11, 22], ["int", "RuntimeUserError"])
    assert asyncio.run(_collected(flyte.map.aio(add, [1, 2]))) == [101, 102]


async def _collected(results: Any) -> list[Any]:
    return [each async for each in results]


def test_calls_of_an_async_task_go_on_at_the_same_time_and_no_more_than_asked_for() -> None:
    running: list[int] = []
    most: list[int] = []

    @env.task
    async def counts(x: int) -> int:
        running.append(x)
        most.append(len(running))
        for _ in range(5):
            await asyncio.sleep(0)
        running.remove(x)
        return x

    assert list(flyte.map(counts, range(20), concurrency=3)) == list(range(20))
    assert max(most) == 3


def test_a_loop_that_is_left_early_cancels_what_goes_on() -> None:
    ended = threading.Event()

    @env.task
    async def sleeps(x: int) -> int:
        if x == 0:
            return x
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        return x

    for each in flyte.map(sleeps, range(3)):
        assert each == 0
        break

    assert ended.is_set()


def test_inputs_are_read_on_the_thread_of_the_loop_as_there_is_room_for_them() -> None:
    read: list[tuple[int, str]] = []

    def inputs() -> Iterator[int]:
        for number in range(1000):
            read.append((number, threading.current_thread().name))
            yield number

    results = flyte.map(later.override(), inputs(), concurrency=2)
    assert read == []
    assert next(results) == 0
    results.close()

    assert len(read) <= 6
    assert {thread for _, thread in read} == {threading.current_thread().name}


def test_what_the_inputs_raise_ends_the_map() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(flyte.map(later, inputs()))


def test_calls_find_what_was_told_around_the_map_wherever_its_results_are_read() -> None:
    @env.task
    async def told(x: int) -> str:
        return flyte.get_custom_context()["who"]

    @env.task
    async def parent() -> list[Any]:
        with flyte.custom_context(who="me"):
            later_read = flyte.map.aio(told, [1, 2])
            plain = flyte.map(told, [3])
        return [each async for each in later_read] + list(plain)

    assert outputs(parent) == ["me"] * 3


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda form: form(len, [1]), TypeError, "calls tasks"),
        (lambda form: form(functools.partial(len), [1]), TypeError, "partial objects of tasks"),
        (lambda form: form(functools.partial(three, 1), [1]), TypeError, "leaves 2: b, c"),
        (lambda form: form(functools.partial(three, 1, 2, 3), [1]), TypeError, "leaves 0"),
        (lambda form: form(functools.partial(three, 1, 2, a=3), [1]), TypeError, "'a' twice"),
        (lambda form: form(functools.partial(three, 1, 2, d=3), [1]), TypeError, "no input 'd'"),
        (lambda form: form(functools.partial(add, 1, 2, 3), [1]), TypeError, "gives 3 inputs"),
        (lambda form: form(later, [1], [2]), TypeError, "got 2 iterables"),
        (lambda form: form(three, [1]), TypeError, "b, c"),
        (lambda form: form(later, 3), TypeError, "must be an iterable, got 3"),
        (lambda form: form(later, [1], concurrency=-1), ValueError, "-1"),
        (lambda form: form(later, [1], concurrency="4"), TypeError, "'4'"),
        (lambda form: form(later, [1], group_name=4), TypeError, "4"),
        (lambda form: form(Task.get("a.b", version="1"), [1]), RemoteTaskUsageError, "within tasks"),
    ],
)
@pytest.mark.parametrize("form", [flyte.map, flyte.map.aio], ids=["plain", "aio"])
def test_a_call_that_can_do_nothing_is_refused_before_the_first_result(
    call: Any, error: type[Exception], text: str, form: Any
) -> None:
    with pytest.raises(error, match=text):
        call(form)
