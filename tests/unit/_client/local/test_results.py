"""Results that local runs reuse."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest

import flyteray as flyte
from flyteray._plan.cache.entry import folder
from flyteray.errors import RuntimeUserError
from flyteray.io import Dir, File, HashFunction

env = flyte.TaskEnvironment(name="reused", cache="auto")
local = flyte.with_runcontext(mode="local")
calls: list[Any] = []


class Pair(NamedTuple):
    a: int
    b: int


@pytest.fixture(autouse=True)
def fresh(home: Path) -> Iterator[Path]:
    calls.clear()
    yield home
    calls.clear()


@env.task
def double(x: int, plus: int = 0) -> int:
    calls.append(x)
    return 2 * x + plus


@env.task
def nothing(x: int) -> None:
    calls.append(x)


@env.task
def pair(x: int) -> Pair:
    calls.append(x)
    return Pair(x, 2 * x)


@env.task
def both(x: int) -> tuple[int, str]:
    calls.append(x)
    return x, str(x)


@env.task
def fails(x: int) -> int:
    calls.append(x)
    raise ValueError(x)


@env.task(cache=flyte.Cache("auto", ignored_inputs="verbose"))
def quietly(x: int, verbose: bool = False) -> int:
    calls.append(x)
    return x


@env.task(cache=flyte.Cache("auto", version_override="1", max_age=timedelta(hours=1)))
def aging(x: int) -> int:
    calls.append(x)
    return x


@env.task(cache=flyte.Cache("auto", serialize=True))
async def alone(x: int) -> int:
    calls.append(x)
    await asyncio.sleep(0)
    return x


@env.task(cache=flyte.Cache("auto", serialize=True))
def alone_sync(x: int) -> int:
    calls.append(x)
    return x


@env.task(cache="disable")
async def all_at_once(x: int) -> list[int]:
    return await asyncio.gather(*(alone(x) for _ in range(5)), *(alone_sync.aio(x) for _ in range(5)))


@env.task
def children(x: int) -> int:
    calls.append("parent")
    return double(x) + double(x)


@env.task
def mean(values: np.ndarray[Any, Any]) -> float:
    calls.append("mean")
    return float(values.mean())


@env.task
def length(text: Annotated[str, HashFunction.from_fn(str.lower)]) -> int:
    calls.append(text)
    return len(text)


@env.task
def read(file: File[str]) -> str:
    calls.append(file.path)
    return Path(file.path).read_text()


@env.task
def names(folder: Dir[str]) -> list[str]:
    calls.append(folder.path)
    return sorted(each.name for each in folder.walk_sync())


@env.task
def write(text: str, path: str) -> File[str]:
    calls.append(text)
    Path(path).write_text(text)
    return File(path=path)


@pytest.mark.parametrize("task", [double, nothing, pair, both, alone, alone_sync])
def test_a_result_is_reused_and_says_whose_it_is(task: Any) -> None:
    first, second = local.run(task, 3), local.run(task, 3)

    assert calls == [3]
    assert first.cached is None
    assert second.cached == first.name
    assert second.outputs() == first.outputs()
    assert type(second.outputs()[0]) is type(first.outputs()[0])


def test_other_inputs_are_another_call_and_a_default_that_is_given_is_not() -> None:
    for arguments in ({"x": 1}, {"x": 1, "plus": 0}, {"x": 1, "plus": 1}, {"x": 2}):
        local.run(double, **arguments)

    assert calls == [1, 1, 2]


def test_children_are_reused_as_well_and_a_parent_that_is_calls_none() -> None:
    assert local.run(children, 1).outputs()[0] == 4
    assert local.run(children, 1).outputs()[0] == 4
    assert local.run(double, 1).cached

    assert calls == ["parent", 1]


def test_failures_are_not_kept() -> None:
    for _ in range(2):
        with pytest.raises(RuntimeUserError):
            local.run(fails, 1)

    assert calls == [1, 1]


def test_a_run_may_want_no_results_or_new_ones() -> None:
    ignores = flyte.with_runcontext(mode="local", disable_run_cache=True)
    anew = flyte.with_runcontext(mode="local", overwrite_cache=True)
    ignores.run(double, 1)
    local.run(double, 1)
    refreshed = anew.run(double, 1)
    ignores.run(double, 1)

    assert calls == [1, 1, 1, 1]
    assert local.run(double, 1).cached == refreshed.name


def test_an_override_is_one_of_the_cache_too() -> None:
    local.run(double, 1)
    refreshed = local.run(double.override(cache="override"), 1)
    local.run(double.override(cache="disable"), 1)

    assert calls == [1, 1, 1]
    assert local.run(double, 1).cached == refreshed.name


def test_ignored_inputs_make_no_difference() -> None:
    local.run(quietly, 1)
    local.run(quietly, 1, verbose=True)

    assert calls == [1]


def test_a_result_that_is_too_old_is_computed_again() -> None:
    local.run(aging, 1)
    local.run(aging, 1)
    local.run(
        aging.override(cache=flyte.Cache("auto", version_override="1", max_age=timedelta(microseconds=1))), 1
    )
    local.run(aging.override(cache=flyte.Cache("auto", version_override="1", max_age=0)), 1)

    assert calls == [1, 1]


def test_a_version_names_the_state_of_the_code() -> None:
    for version in ("1", "2", "1"):
        local.run(double.override(cache=flyte.Cache("auto", version_override=version)), 1)

    assert calls == [1, 1]


def test_of_equal_calls_one_computes_where_they_are_serial() -> None:
    assert local.run(all_at_once, 4).outputs()[0] == [4] * 10

    assert calls == [4, 4]  # of two tasks
    assert not list((Path(local.run(double, 1).url.removeprefix("file://")).parent / "locks").iterdir())


def test_of_equal_calls_of_several_threads_one_computes() -> None:
    threads = [threading.Thread(target=local.run, args=(alone_sync, 7)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == [7]


def test_an_array_counts_by_its_content_and_a_result_is_mapped() -> None:
    local.run(mean, np.arange(6.0))
    local.run(mean, np.arange(6.0).copy())
    local.run(mean, np.arange(6.0)[::-1])

    assert calls == ["mean", "mean"]


def test_an_input_counts_by_what_its_hash_function_says() -> None:
    local.run(length, "ABC")
    local.run(length, "abc")
    local.run(length, "abcd")

    assert calls == ["ABC", "abcd"]


def test_files_and_folders_count_by_their_content_or_by_the_hash_that_they_were_given(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    first, second = inside / "first.txt", tmp_path / "second.txt"
    first.write_text("same")
    second.write_text("same")
    local.run(read, File(path=str(first)))
    local.run(read, File(path=str(second)))
    local.run(names, Dir(path=str(inside)))
    second.write_text("other")
    local.run(read, File(path=str(second)))
    local.run(read, File(path=str(second), hash="named"))
    second.write_text("yet another")
    local.run(read, File(path=str(second), hash="named"))
    (inside / "third.txt").write_text("more")
    local.run(names, Dir(path=str(inside)))

    assert calls == [str(first), str(inside), str(second), str(second), str(inside)]


def test_a_file_that_is_not_there_is_the_tasks_problem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeUserError, match="nowhere"):
            local.run(read, File(path=str(tmp_path / "nowhere")))

    assert "computes its result anew" in caplog.text


def test_a_result_whose_file_is_gone_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file.txt"
    for _ in range(2):
        local.run(write, "text", str(path))
    path.unlink()
    local.run(write, "text", str(path))

    assert calls == ["text", "text"]
    assert "is not there any more" in caplog.text
    assert path.read_text() == "text"


def test_an_input_of_unknown_content_is_an_error_that_says_what_to_do() -> None:
    @env.task
    def locks(lock: Any) -> int:
        return 1

    with pytest.raises(
        TypeError, match=r"Input 'lock' of task 'reused.locks' is a lock.*ignored_inputs='lock'"
    ):
        local.run(locks, threading.Lock())


def test_functions_of_one_text_that_were_made_with_other_values_have_results_of_their_own() -> None:
    def made(number: int) -> Any:
        @env.task
        def scaled(x: int) -> int:
            return number * x

        return scaled

    assert [local.run(made(number), 2).outputs()[0] for number in (3, 5, 3)] == [6, 10, 6]


def test_results_that_were_torn_are_computed_again(fresh: Path, caplog: pytest.LogCaptureFixture) -> None:
    local.run(double, 1)
    (outputs,) = (fresh / "storage" / folder("reused.double")).glob("*.outputs")
    outputs.write_bytes(b"torn")
    local.run(double, 1)
    (entry,) = (fresh / "storage" / folder("reused.double")).glob("*.json")
    entry.write_text("{")
    local.run(double, 1)

    assert calls == [1, 1, 1]
    assert "can't be read any more" in caplog.text


def test_a_storage_that_can_not_be_used_fails_no_run(
    fresh: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTERAY_STORAGE", "/proc/nothing")
    caplog.set_level(logging.WARNING)

    assert local.run(double, 1).outputs()[0] == 2
    assert "can't be kept" in caplog.text


def test_results_of_another_project_are_reused_unless_the_run_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = flyte.with_runcontext(mode="local", cache_lookup_scope="project-domain")

    def run_as(project: str, context: Any) -> None:
        monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_PROJECT", project)
        context.run(double, 1)

    run_as("one", local)
    run_as("two", local)
    assert calls == [1]
    run_as("two", own)
    run_as("one", own)
    run_as("two", own)
    assert calls == [1, 1]


SCRIPT = """
    import dataclasses
    import flyteray as flyte

    env = flyte.TaskEnvironment("script")

    @dataclasses.dataclass
    class Point:
        x: int
        {field}

    @env.task(cache=flyte.Cache("auto", version_override="1"))
    def point(x: int) -> Point:
        print("computed")
        return Point(x)

    if __name__ == "__main__":
        run = flyte.with_runcontext(mode="local").run(point, 1)
        print(run.outputs()[0])
"""


def test_a_class_that_has_changed_since_is_told_and_the_result_computed_again(fresh: Path) -> None:
    script = fresh / "script.py"

    def said(field: str) -> tuple[list[str], str]:
        script.write_text(textwrap.dedent(SCRIPT.format(field=field)))
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
        return done.stdout.splitlines(), done.stderr

    assert said("")[0] == ["computed", "Point(x=1)"]
    assert said("")[0] == ["Point(x=1)"]
    told, warned = said("y: int = 2")
    assert told == ["computed", "Point(x=1, y=2)"]
    assert "class Point of module script has changed" in warned
    assert said("y: int = 2")[0] == ["Point(x=1, y=2)"]


@pytest.mark.parametrize("parents", [1, 3])
def test_calls_that_wait_for_an_equal_one_leave_it_a_place(parents: int) -> None:
    @env.task(cache="disable")
    async def whole(x: int) -> list[list[int]]:
        return await asyncio.gather(*(all_at_once(x) for _ in range(parents)))

    limited = flyte.with_runcontext(mode="local", max_action_concurrency=2)

    assert limited.run(whole, 5).outputs()[0] == [[5] * 10] * parents
    assert calls == [5, 5]
