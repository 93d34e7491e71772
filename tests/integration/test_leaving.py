"""How tasks wait, end and find themselves: as in plain Ray and plain Python, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

import flyteray as flyte
from flyteray.errors import RuntimeUserError, TaskInterruptedError
from flyteray.remote import ActionPhase, Run
from tests.integration import sample_leaving as samples
from tests.waiting import eventually

CPUS = 2  # of the cluster: so many tasks that kept theirs would leave none for what they wait for

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left(cluster: Any) -> Iterator[None]:
    """Whatever the tests below have done, no run goes on and no CPU is taken when they have ended."""
    flyte.init()
    yield
    eventually(lambda: [run for run in Run.listall(limit=1000) if not run.phase.is_terminal] == [])
    eventually(lambda: ray.available_resources().get("CPU") == CPUS)


@pytest.mark.parametrize(
    "how", ["get", "get in time", "wait", "threads", "future", "generator", "actor", "handle", "data"]
)
def test_tasks_that_wait_for_plain_ray_leave_it_the_cpus(how: str) -> None:
    runs = [flyte.run(samples.uses_ray, how) for _ in range(CPUS)]

    assert [run.outputs()[0] for run in runs] == [3] * CPUS


@pytest.mark.parametrize("how", ["await", "gather", "to_thread"])
def test_async_tasks_do_too(how: str) -> None:
    runs = [flyte.run(samples.uses_ray_async, how) for _ in range(CPUS)]

    assert [run.outputs()[0] for run in runs] == [3] * CPUS


def test_handles_of_actors_travel_into_tasks_and_back_however_many_they_are() -> None:
    assert flyte.run(samples.passes_handles_around, times=20).outputs()[0] == 20


def test_rays_own_errors_are_as_ray_raises_them() -> None:
    assert flyte.run(samples.sees_rays_errors).outputs()[0] == ["RayTaskError(KeyError)", "GetTimeoutError"]


WORDS = {
    "exit": "SystemExit: bad configuration",
    "exit well": "SystemExit: sys.exit(0) was called",
    "argparse": "SystemExit: sys.exit(2) was called: argument --rounds: invalid int value: 'many'",
    "generator": "GeneratorExit",
    "interrupt": "KeyboardInterrupt: mine",
    "cancelled": "CancelledError: mine",
    "base": "BaseException: the root of all",
    "surrogate": r"ValueError: bad \udc80 text\x00",
    "unspeakable": "Unspeakable: (no message: the exception's __str__ raised RuntimeError)",
}


@pytest.mark.parametrize("how", WORDS)
@pytest.mark.parametrize("task", [samples.leaves, samples.leaves_async])
def test_however_a_task_is_left_its_run_fails_with_the_words_and_the_line(task: Any, how: str) -> None:
    run = flyte.run(task, how)

    with pytest.raises(RuntimeUserError) as caught:
        run.outputs()

    assert str(caught.value) == WORDS[how]
    error = run.info.error
    assert error is not None
    assert "sample_leaving.py" in error.traceback
    assert "in leave\n" in error.traceback
    told = eventually(lambda: [each.error for each in run.actions() if each.error])
    assert told == [error.summary]


def test_sys_exit_in_a_coroutine_beside_the_task_is_its_failure() -> None:
    with pytest.raises(RuntimeUserError, match="SystemExit: bad configuration"):
        flyte.run(samples.leaves_by_another, "exit").outputs()


def test_a_parent_is_told_however_its_children_are_left() -> None:
    told = flyte.run(samples.asks_children, [*WORDS, "died"]).outputs()[0]

    assert told[:-1] == list(WORDS.values())
    assert "died" in told[-1]


def test_only_a_process_that_ends_is_an_interruption() -> None:
    with pytest.raises(TaskInterruptedError):
        flyte.run(samples.leaves, "died").outputs()


def test_sys_exit_without_an_error_ends_a_task_that_owes_no_output() -> None:
    assert flyte.run(samples.exits_when_done).outputs()[0] is None


def test_an_abort_interrupts_a_sleep_and_lets_the_task_clean_up(tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    run = flyte.run(samples.sleeps_until_cancelled, str(begun), str(ended))
    eventually(begun.exists)

    run.abort()

    assert eventually(lambda: ended.exists() and ended.read_text()) == "cleaned up"
    assert run.phase is ActionPhase.ABORTED


def test_a_task_finds_itself_where_a_script_would() -> None:
    found = flyte.run(samples.looks_around).outputs()[0]

    as_a_script = [True, "asyncio.unix_events", "sample_leaving.py", 1]
    assert found == {
        "here": as_a_script,
        "imported": as_a_script,
        "rang": "rang",
        "loop": "asyncio.unix_events",
        "spawned": 9,
        "forked": 16,
        "main": "sample_leaving.py",
        "level": 20,
    }
