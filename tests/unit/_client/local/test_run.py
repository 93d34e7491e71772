"""Runs in the calling process: no Ray, no cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray.errors import (
    DeadlineExceededError,
    MaxRuntimeExceededError,
    NonRecoverableError,
    RuntimeUserError,
    SyncTaskCallInAsyncContextError,
)
from flyteray.remote import ActionPhase

env = flyte.TaskEnvironment(name="local")
local = flyte.with_runcontext(mode="local")
attempts: list[int] = []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    attempts.clear()
    return tmp_path


@pytest.mark.parametrize("name", ["", "a b", "../../x", "-x", "x" * 64, 3], ids=repr)
def test_what_could_be_no_folder_is_no_runs_name(name: Any) -> None:
    with pytest.raises(ValueError, match="can't be a run's name"):
        flyte.with_runcontext(mode="local", name=name)


@env.task
def double(x: int) -> int:
    return 2 * x


@env.task
def halve(x: int) -> tuple[int, int]:
    return divmod(x, 2)


@env.task
async def fan_out(n: int) -> int:
    return sum(await asyncio.gather(*(double.aio(i) for i in range(n))))


@env.task
def chain(x: int) -> int:
    return double(double(x))


@env.task
async def blocks_its_loop() -> int:
    return double(1)


meeting = threading.Barrier(3, timeout=60)


@env.task
def meet() -> int:
    return meeting.wait()


@env.task
async def all_meet() -> int:
    return sum(await asyncio.gather(*(meet.aio() for _ in range(3))))


@env.task(retries=flyte.RetryStrategy(count=2, backoff=flyte.Backoff(base=timedelta(0))))
def flaky(fail: int) -> int:
    attempts.append(flyte.ctx().attempt_number)
    if len(attempts) <= fail:
        raise ConnectionError("not yet")
    return len(attempts)


@env.task(retries=5)
def hopeless() -> None:
    attempts.append(1)
    raise NonRecoverableError("never")


@env.task
def nested() -> int:
    result: int = flyte.run(double, 5).outputs()[0]
    return result


@env.task
def where() -> list[str]:
    context = flyte.ctx()
    return [context.action.name, context.action.run_name, context.mode]


def test_a_run_ends_before_run_returns() -> None:
    run = local.run(double, 4)

    assert run.phase is ActionPhase.SUCCEEDED
    assert run.done()
    assert run.outputs() == (8,)
    assert asyncio.run(run.outputs.aio()) == (8,)


def test_local_mode_needs_no_ray() -> None:
    script = (
        "import sys, flyteray as flyte; from tests.unit._client.local.test_run import local, fan_out;"
        "print(local.run(fan_out, 3).outputs()[0], 'ray' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["6", "False"]


def test_several_outputs_have_names() -> None:
    assert local.run(halve, 7).outputs().named_outputs == {"o0": 3, "o1": 1}


def test_children_run_in_this_process() -> None:
    assert local.run(fan_out, 4).outputs()[0] == 12
    assert local.run(chain, 3).outputs()[0] == 12


def test_sync_children_awaited_together_run_side_by_side() -> None:
    assert local.run(all_meet).outputs()[0] == 3


def test_a_plain_call_from_async_code_is_refused_as_on_a_cluster() -> None:
    with pytest.raises(SyncTaskCallInAsyncContextError):
        local.run(blocks_its_loop)


def test_a_failure_is_raised_from_run_with_the_original_as_the_cause() -> None:
    with pytest.raises(RuntimeUserError) as caught:
        local.run(flaky, fail=3)

    assert caught.value.code == "ConnectionError"
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert attempts == [0, 1, 2]


def test_retries_go_on_until_it_works_or_there_is_no_point() -> None:
    assert local.run(flaky, fail=2).outputs()[0] == 3
    attempts.clear()
    with pytest.raises(NonRecoverableError):
        local.run(hopeless)
    assert attempts == [1]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def leave(how: str) -> None:
    match how:
        case "exit":
            sys.exit("bad configuration")
        case "stop":
            raise StopIteration(3)
        case "generator":
            raise GeneratorExit
        case "cancelled":
            raise asyncio.CancelledError
        case "base":
            raise BaseException("the root of all")
        case "surrogate":
            raise ValueError("bad \udc80 text")
        case "unspeakable":
            raise Unspeakable


@env.task
def leaves(how: str) -> int:
    leave(how)
    return 1


@env.task
async def leaves_async(how: str) -> int:
    leave(how)
    return 1


@env.task
async def leaves_by_another(how: str) -> int:
    async def other() -> None:
        leave(how)

    beside = asyncio.create_task(other())
    beside.add_done_callback(lambda ended: ended.exception())  # not to be told of when it is collected
    await asyncio.sleep(60)
    await beside
    return 1


@env.task
async def asks_child(how: str) -> list[str]:
    told = []
    for child in (leaves.aio, leaves_async):
        try:
            await child(how)
        except RuntimeUserError as error:
            told.append(str(error))
    return told


WORDS = {
    "exit": "SystemExit: bad configuration",
    "stop": "StopIteration: 3",
    "generator": "GeneratorExit",
    "cancelled": "CancelledError",
    "base": "BaseException: the root of all",
    "surrogate": "ValueError: bad \\udc80 text",
    "unspeakable": "Unspeakable: (no message: the exception's __str__ raised RuntimeError)",
}


def words(how: str, in_coroutine: bool = False) -> str:
    python_says = "RuntimeError: coroutine raised StopIteration"
    return python_says if how == "stop" and in_coroutine else WORDS[how]


@pytest.mark.parametrize("how", WORDS)
@pytest.mark.parametrize("task", [leaves, leaves_async])
def test_however_a_task_is_left_it_is_a_failure_with_its_words(task: Any, how: str) -> None:
    with pytest.raises(RuntimeUserError) as caught:
        local.run(task, how)

    assert str(caught.value) == words(how, in_coroutine=task is leaves_async)


@pytest.mark.parametrize("how", WORDS)
def test_a_parent_is_told_however_its_child_is_left(how: str) -> None:
    assert local.run(asks_child, how).outputs()[0] == [words(how), words(how, in_coroutine=True)]


def test_sys_exit_in_a_coroutine_beside_the_task_ends_the_run_and_no_other() -> None:
    for run in (local.run, lambda *args: asyncio.run(local.run.aio(*args))):
        with pytest.raises((RuntimeUserError, SystemExit), match="bad configuration"):
            run(leaves_by_another, "exit")
    assert local.run(double, 2).outputs()[0] == 4


@env.task
def says_done() -> None:
    sys.exit()


@env.task
def says_done_without_an_output() -> int:
    sys.exit(0)


def test_sys_exit_without_an_error_ends_a_task_that_owes_no_output() -> None:
    assert local.run(says_done).outputs()[0] is None
    with pytest.raises(RuntimeUserError, match=r"SystemExit: sys.exit\(0\) was called"):
        local.run(says_done_without_an_output)


@env.task
def as_in_a_script() -> list[Any]:
    def ring(*_: Any) -> None:
        rang.append(1)

    rang: list[int] = []
    before = signal.signal(signal.SIGUSR1, ring)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)

    async def answer() -> int:
        return 42

    return [threading.current_thread() is threading.main_thread(), rang, asyncio.run(answer()), own_loop()]


@env.task
def own_loop() -> int:
    async def answer() -> int:
        return 43

    return asyncio.run(answer())


@env.task
async def as_in_an_async_script() -> list[Any]:
    rang = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, rang.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await rang.wait()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    return [threading.current_thread() is threading.main_thread(), await own_loop.aio()]


def test_a_local_task_runs_where_a_script_would_run_it() -> None:
    assert local.run(as_in_a_script).outputs()[0] == [True, [1], 42, 43]
    assert local.run(as_in_an_async_script).outputs()[0] == [True, 43]


def test_a_local_run_works_from_a_thread_whose_loop_runs_as_in_a_notebook() -> None:
    async def cell() -> Any:
        return local.run(chain, 3).outputs()[0]

    assert asyncio.run(cell()) == 12


def test_a_run_inside_a_local_run_is_local_as_well() -> None:
    assert local.run(nested).outputs()[0] == 10


def test_a_task_knows_that_it_is_local() -> None:
    assert flyte.with_runcontext(mode="local", name="mine").run(where).outputs()[0] == ["a0", "mine", "local"]


@env.task
def thread_of_child() -> str:
    return asyncio.run(_thread())


async def _thread() -> str:
    return threading.current_thread().name


@env.task
def threads() -> list[str]:
    return [threading.current_thread().name, thread_of_child(), asyncio.run(_thread())]


@env.task
async def threads_of_async() -> list[str]:
    return [await _thread(), *flyte.run(threads).outputs()[0]]


def test_sync_tasks_run_on_the_thread_that_runs_them_and_may_have_loops_of_their_own() -> None:
    here = threading.current_thread().name

    assert local.run(threads).outputs()[0] == [here] * 3
    # A run inside an async task can't have that thread as well: its loop runs there.
    assert local.run(threads_of_async).outputs()[0] == [here, *["flyteray-local"] * 3]


def test_where_a_loop_runs_a_blocking_run_works_as_well() -> None:
    async def cell() -> list[list[str]]:
        awaited = await local.run.aio(threads_of_async)
        return [run.outputs()[0] for run in (local.run(threads), local.run(threads_of_async), awaited)]

    sync, of_async, awaited = asyncio.run(cell())

    assert sync == ["flyteray-local"] * 3
    assert of_async == ["flyteray-local"] * 4
    assert awaited == [threading.current_thread().name, *["flyteray-local"] * 3]


@env.task
async def loop_of_run() -> int:
    return id(asyncio.get_running_loop())


def test_the_loop_of_async_tasks_is_kept_for_clients_that_are_bound_to_it() -> None:
    assert local.run(loop_of_run).outputs()[0] == local.run(loop_of_run).outputs()[0]


def test_a_failure_ends_in_the_users_line_without_frames_of_ours() -> None:
    with pytest.raises(RuntimeUserError) as caught:
        local.run(flaky, fail=3)

    frames = [entry.frame.code.raw.co_name for entry in caught.traceback]
    assert frames == [
        "test_a_failure_ends_in_the_users_line_without_frames_of_ours",
        "__call__",  # the verb
        "flaky",
    ]


DEBUGGED = """\
import sys
import flyteray

env = flyteray.TaskEnvironment("debugged")

@env.task
def inner(x: int) -> int:
    y = x * 2
    return y

@env.task
def outer(x: int) -> int:
    if "stop" in sys.argv:
        breakpoint()
    return inner(x)

@env.task
async def async_outer(x: int) -> int:
    return await inner.aio(x)

if __name__ == "__main__":
    task = async_outer if "async" in sys.argv else outer
    flyteray.with_runcontext(mode="local").run(task, 20)
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["debugged.py", "stop"], "p 'x', x\nb 9\nc\np 'y', y\nc\n"),
        (["-m", "pdb", "debugged.py"], "b 9\nc\np 'y', y\nq\n"),
        (["-m", "pdb", "debugged.py", "async"], "b 9\nc\np 'y', y\ncl 1\nc\nq\n"),
    ],
    ids=["breakpoint", "pdb", "pdb, in a child of an async task"],
)
def test_a_debugger_stops_in_tasks(tmp_path: Path, command: list[str], said: str) -> None:
    (tmp_path / "debugged.py").write_text(DEBUGGED)

    told = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "('y', 40)" in told.stdout
    assert ("('x', 20)" in told.stdout) == ("stop" in command)


def test_code_is_shipped_from_under_a_debugger_as_well(tmp_path: Path) -> None:
    script = "from flyteray._plan.bundle import code\nprint(code.ship(inner)[0].module)\n"
    (tmp_path / "debugged.py").write_text(DEBUGGED.partition("if __name__")[0] + script)

    told = subprocess.run(
        [sys.executable, "-m", "pdb", "-c", "c", "-c", "q", "debugged.py"],
        cwd=tmp_path,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "debugged\n" in told.stdout


def test_what_is_no_task_or_no_mode_is_refused() -> None:
    with pytest.raises(TypeError, match="not generic functions"):
        local.run(lambda: 1)
    with pytest.raises(ValueError, match="'hybrid'"):
        flyte.with_runcontext(mode="hybrid")  # type: ignore[arg-type]


def test_ctrl_c_ends_a_local_run_whatever_its_task_does(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        "import threading\nimport flyteray\nenv = flyteray.TaskEnvironment('waits')\n"
        "@env.task\ndef work() -> None:\n    print('begun', flush=True)\n    threading.Event().wait()\n"
        "flyteray.with_runcontext(mode='local').run(work)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)

    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert running.returncode == -signal.SIGINT


@env.task
def named(self: int, task: int, args: int, kwargs: int, name: str = "n", mode: str = "m") -> list[Any]:
    return [self, task, args, kwargs, name, mode]


@env.task
async def names_children() -> list[Any]:
    return [
        await named.aio(self=1, task=2, args=3, kwargs=4),
        await named.aio(1, 2, 3, 4, name="x", mode="y"),
        await asyncio.to_thread(lambda: named(self=1, task=2, args=3, kwargs=4, mode="z")),
    ]


def test_inputs_may_be_called_whatever_our_own_arguments_are_called() -> None:
    local = flyte.with_runcontext(mode="local")
    expected = [[1, 2, 3, 4, "n", "m"], [1, 2, 3, 4, "x", "y"], [1, 2, 3, 4, "n", "z"]]

    assert local.run(named, self=1, task=2, args=3, kwargs=4, mode="q").outputs()[0] == [1, 2, 3, 4, "n", "q"]
    assert local.run(names_children).outputs()[0] == expected
    assert named(self=1, task=2, args=3, kwargs=4) == expected[0]
    assert named.forward(self=1, task=2, args=3, kwargs=4) == expected[0]


class Counted:
    """How many actions were in here at one time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._change = threading.Lock()

    def __enter__(self) -> None:
        with self._change:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._change:
            self.now -= 1


counted = Counted()


@env.task
def sync_leaf(x: int) -> int:
    with counted:
        threading.Event().wait(0.002)
    return x


@env.task
async def leaf(x: int) -> int:
    with counted:
        await asyncio.sleep(0.002)
    return await sync_leaf.aio(x)


@env.task
async def tree(width: int, depth: int) -> int:
    if depth == 0:
        return await leaf(1)
    return sum(await asyncio.gather(*(tree(width, depth - 1) for _ in range(width))))


@pytest.mark.parametrize("limit", [2, 3])
def test_no_more_actions_run_at_one_time_than_a_run_is_allowed_to(limit: int) -> None:
    counted.most = 0

    run = flyte.with_runcontext(mode="local", max_action_concurrency=limit).run(tree, 3, 3)

    assert run.outputs()[0] == 27
    assert counted.most == limit


# Limits of time

SECOND = flyte.Timeout(max_runtime=timedelta(milliseconds=300))


@env.task(timeout=SECOND)
def sleeps_for_long() -> None:
    time.sleep(600)


@env.task(timeout=SECOND, retries=flyte.RetryStrategy(1, flyte.Backoff(timedelta(0))))
async def awaits_for_long() -> None:
    attempts.append(1)
    await asyncio.sleep(600)


@env.task(timeout=SECOND)
def loops_for_long() -> None:
    while True:
        sum(range(1000))


@env.task(timeout=SECOND)
def swallows_its_interrupt() -> int:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        return 1
    return 0


@env.task
async def lets_a_sync_child_loop() -> None:
    await loops_for_long.aio()


@env.task(timeout=flyte.Timeout(deadline=1), retries=100)
def fails_until_its_deadline() -> None:
    raise ValueError("x")


@env.task(timeout=60)
def is_in_time() -> int:
    return 1


@pytest.mark.parametrize(
    "task",
    [sleeps_for_long, awaits_for_long, loops_for_long, swallows_its_interrupt, lets_a_sync_child_loop],
    ids=lambda task: task.short_name,
)
def test_a_task_that_runs_for_too_long_is_interrupted(task: Any) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(MaxRuntimeExceededError, match=r"max_runtime of 0\.3 seconds"):
        local.run(task)

    assert signal.getsignal(signal.SIGINT) is before
    assert len(attempts) == (2 if task is awaits_for_long else 0)


def test_attempts_end_with_the_deadline() -> None:
    with pytest.raises(DeadlineExceededError, match="deadline of 1 second") as caught:
        local.run(fails_until_its_deadline)

    assert "ValueError: x" in str(caught.value.__cause__)


def test_a_task_that_is_in_time_is_as_any_other() -> None:
    assert local.run(is_in_time).outputs() == (1,)


@env.task
def drops() -> None:
    raise KeyError("dropped")


@env.task
async def lets_a_child_drop() -> None:
    await drops.aio()


@pytest.mark.parametrize("task", [drops, lets_a_child_drop])
def test_an_error_and_what_it_came_from_show_the_users_frames_only(task: Any) -> None:
    with pytest.raises(RuntimeUserError) as caught:
        local.run(task)

    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    files = {frame.filename for frame in traceback.extract_tb(cause.__traceback__)}
    assert files == {__file__}


@env.task
def notes_itself(x: int) -> list[int]:
    attempts.append(x)
    if x == 3 and attempts.count(3) == 1:
        raise ValueError("three")
    return [x]


@env.task
def counts_below(x: int) -> list[int]:
    return notes_itself(x)


@env.task(retries=1)
def counts_again() -> list[list[int]]:
    found = [counts_below(1), notes_itself(2)]
    found[0].append(0)  # which the second attempt must not see
    return [*found, notes_itself(3)]


@env.task(retries=1)
async def counts_again_async() -> list[list[int]]:
    return [await counts_below.aio(1), await notes_itself.aio(2), await notes_itself.aio(3)]


@pytest.mark.parametrize(("task", "first"), [(counts_again, [1, 0]), (counts_again_async, [1])])
def test_a_task_that_is_tried_again_is_given_what_its_children_returned(task: Any, first: list[int]) -> None:
    named = flyte.with_runcontext(mode="local", name="again")

    assert named.run(task).outputs()[0] == [first, [2], [3]]
    assert attempts == [1, 2, 3, 3]
    attempts.clear()
    assert named.run(task).outputs()[0] == [first, [2], [3]]
    assert attempts == [1, 2, 3, 3], "another run of that name"
