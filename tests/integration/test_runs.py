from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import flyteray as flyte
from flyteray.errors import (
    ActionAbortedError,
    ResultSerializationError,
    RunAlreadyExistsError,
    RunNotFoundError,
    RuntimeDataValidationError,
    RuntimeUserError,
    SyncTaskCallInAsyncContextError,
)
from flyteray.remote import ActionPhase, Run
from tests.integration import sample_tasks as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def result(task: Any, *args: Any, **kwargs: Any) -> Any:
    return flyte.run(task, *args, **kwargs).outputs()[0]


def test_run_returns_a_live_handle_at_once_and_outputs_waits() -> None:
    run = flyte.run(samples.double, x=21)

    assert (phase := run.phase) is ActionPhase.SUCCEEDED or not phase.is_terminal
    assert run.outputs().o0 == 42
    assert run.phase is ActionPhase.SUCCEEDED
    assert run.done()


def test_an_async_task_runs_as_well() -> None:
    assert result(samples.triple, 2) == 6


def test_a_tuple_has_several_outputs() -> None:
    outputs = flyte.run(samples.split, 5).outputs()

    assert outputs == (5, "5")
    assert outputs.named_outputs == {"o0": 5, "o1": "5"}


def test_classes_of_the_users_module_travel_both_ways() -> None:
    assert result(samples.mirror, samples.Point(1, 2)) == samples.Point(2, 1)


def test_arrays_arrive_shared_and_read_only() -> None:
    output = result(samples.weights, 2)

    assert output["name"] == "ones"
    assert output["w"].sum() == 2 * 131_072
    assert not output["w"].flags.writeable


def test_children_are_actions_of_the_run() -> None:
    run = flyte.run(samples.calls_async_children, 3)

    assert run.outputs()[0] == 9
    done = eventually(lambda: [each for each in run.actions() if each.phase is ActionPhase.SUCCEEDED][3:4])
    again = flyte.run(samples.calls_async_children, 3)
    assert again.outputs()[0] == 9
    assert len({each.action for each in run.actions()}) == 4
    assert {each.action for each in again.actions()} <= {each.action for each in run.actions()}
    assert {each.parent for each in done} <= {None, "a0"}


def test_a_parent_that_is_tried_again_does_not_call_again_what_has_succeeded(tmp_path: Path) -> None:
    run = flyte.run(samples.fails_once_behind_children, str(tmp_path / "journal"))

    assert run.outputs()[0] == [0, 1, 2, 1]
    assert sorted((tmp_path / "journal").read_text().split()) == ["0", "1", "2"]
    eventually(lambda: [each.phase for each in run.actions()] == [ActionPhase.SUCCEEDED] * 4)


def test_what_was_traced_and_saved_is_there_for_the_attempts_after_a_failure_and_after_a_death(
    tmp_path: Path,
) -> None:
    run = flyte.run(samples.goes_on, str(tmp_path / "journal"))

    assert run.outputs() == (3, "01")
    assert (tmp_path / "journal").read_text().split() == ["1", "2"]
    traces = [f"{samples.traced.__module__}.traced", f"{samples.traced.__module__}.traced", "durable.sleep"]
    eventually(lambda: sorted(each.task for each in run.actions()) == sorted([*traces, samples.goes_on.name]))
    assert run.actions()[0].attempts == 3
    assert all(each.phase is ActionPhase.SUCCEEDED for each in run.actions())


@pytest.mark.parametrize("task", [samples.calls_sync_children, samples.calls_sync_children_from_async])
def test_sync_children_are_called_plainly_or_by_aio(task: Any) -> None:
    assert result(task, 4) == 12


def test_a_sync_call_from_async_code_is_refused() -> None:
    with pytest.raises(SyncTaskCallInAsyncContextError, match="aio"):
        result(samples.forgets_aio)


@pytest.mark.parametrize("task", [samples.tree, samples.sync_tree])
def test_nested_fan_out_does_not_starve_on_two_cpus(task: Any) -> None:
    assert result(task, 8) == 8 * sum(range(8))


def test_a_failure_raises_the_users_exception_as_the_cause_with_the_users_frames() -> None:
    run = flyte.run(samples.fail, message="on purpose")
    run.wait()

    assert run.phase is ActionPhase.FAILED
    with pytest.raises(RuntimeUserError, match="on purpose") as caught:
        run.outputs()
    assert caught.value.code == "Broken"
    assert isinstance(caught.value.__cause__, samples.Broken)
    text = str(caught.value.__cause__.__cause__)
    assert "sample_tasks.py" in text
    assert "raise Broken(message)" in text
    assert "flyteray/_tasks" not in text
    assert "site-packages" not in text


def test_a_childs_failure_can_be_caught_in_the_parent() -> None:
    assert result(samples.reports_child_failure) == ["Broken", "Broken", "inner"]


def test_an_unpicklable_result_says_what_and_where() -> None:
    with pytest.raises(ResultSerializationError, match="lock"):
        result(samples.unpicklable)


def test_a_result_of_another_type_than_declared_is_an_error() -> None:
    with pytest.raises(RuntimeDataValidationError, match="int"):
        result(samples.wrong_type)


def test_inputs_are_checked_before_anything_is_sent() -> None:
    with pytest.raises(TypeError, match="Type conversion failed for variable 'x'"):
        flyte.run(samples.double, x="2")
    with pytest.raises(ValueError, match="Missing required inputs: x"):
        flyte.run(samples.double)


def test_retries_run_the_task_again(tmp_path: Path) -> None:
    assert result(samples.succeeds_at_attempt, 2, str(tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_a_task_whose_worker_dies_is_run_again(tmp_path: Path) -> None:
    assert result(samples.dies, str(tmp_path)) == "alive"


def test_abort_ends_the_run_and_its_children(tmp_path: Path) -> None:
    run = flyte.run(samples.waits_for_children, str(tmp_path / "child"), 120.0)
    notes = [tmp_path / "child-0", tmp_path / "child-1"]
    eventually(lambda: all(note.exists() for note in notes))

    run.abort("enough")

    assert run.phase is ActionPhase.ABORTED
    with pytest.raises(ActionAbortedError, match="enough"):
        run.outputs()
    eventually(lambda: not any(note.exists() for note in notes))  # their sleep was interrupted


def test_abort_ends_the_process_of_code_that_ignores_it(tmp_path: Path) -> None:
    note = tmp_path / "process"
    run = flyte.run(samples.ignores_all, str(note))
    process = int(eventually(lambda: note.exists() and note.read_text()))

    run.abort()

    eventually(lambda: not psutil.pid_exists(process))


def test_environment_variables_reach_their_environment_and_no_other() -> None:
    assert result(samples.flavours) == ["none", "mint", "none"]


def test_a_task_can_start_a_run_and_wait_for_it() -> None:
    runs = [flyte.run(samples.runs_another, i) for i in range(4)]

    assert [run.outputs()[0] for run in runs] == [0, 2, 4, 6]


def test_a_task_knows_where_it_runs() -> None:
    run = flyte.with_runcontext(name="knows-itself").run(samples.where)

    assert run.outputs()[0] == ["a0", "knows-itself", "remote"]


def test_a_name_is_used_once() -> None:
    flyte.with_runcontext(name="only-once").run(samples.double, 1).wait()

    with pytest.raises(RunAlreadyExistsError, match="only-once"):
        flyte.with_runcontext(name="only-once").run(samples.double, 1)


def test_a_run_is_found_by_name_and_listed() -> None:
    run = flyte.run(samples.double, 4)
    run.wait()

    assert Run.get(run.name).outputs()[0] == 8
    assert run.name in [found.name for found in Run.listall(task_name="samples.double")]
    with pytest.raises(RunNotFoundError, match="no-such-run"):
        Run.get("no-such-run")


def test_verbs_have_awaitable_twins() -> None:
    import asyncio

    async def main() -> Any:
        run = await flyte.run.aio(samples.double, 3)
        await run.wait.aio()
        return (await run.outputs.aio())[0], (await Run.get.aio(run.name)).name == run.name

    assert asyncio.run(main()) == (6, True)


def test_a_run_goes_on_when_its_driver_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed_driver.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            import flyteray as flyte

            env = flyte.TaskEnvironment(name="killed")

            @env.task
            def slow(path: str) -> str:
                while not os.path.exists(path):
                    time.sleep(0.05)
                return "survived"

            if __name__ == "__main__":
                print(flyte.run(slow, sys.argv[1]).name, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )

    goes_on = tmp_path / "goes-on"
    driver = subprocess.run(
        [sys.executable, script, goes_on], capture_output=True, text=True, timeout=60, check=False
    )
    goes_on.touch()
    reader = "import sys, flyteray.remote as r; print(r.Run.get(sys.argv[1]).outputs()[0])"
    output = subprocess.run(
        [sys.executable, "-c", reader, driver.stdout.strip()], capture_output=True, text=True, timeout=60
    )

    assert driver.returncode == -9
    assert output.stdout.strip() == "survived", output.stderr


def test_local_mode_runs_in_this_process_and_raises_from_run(tmp_path: Path) -> None:
    local = flyte.with_runcontext(mode="local")

    run = local.run(samples.calls_sync_children_from_async, 4)
    assert run.outputs()[0] == 12
    assert run.phase is ActionPhase.SUCCEEDED
    with pytest.raises(RuntimeUserError) as caught:
        local.run(samples.fail, "here")
    assert isinstance(caught.value.__cause__, samples.Broken)
    assert local.run(samples.succeeds_at_attempt, 1, str(tmp_path)).outputs()[0] == 1
    assert np.array_equal(local.run(samples.weights, 1).outputs()[0]["w"], np.ones(131_072))


def test_what_a_run_is_told_reaches_all_of_its_tasks(tmp_path: Path) -> None:
    context = flyte.with_runcontext(
        env_vars={"ASKED_FOR": "yes"},
        custom_context={"by": "driver"},
        raw_data_path=str(tmp_path),
        name="told-of",
    )

    with flyte.custom_context(team="red", by="nobody"):
        inside, outside = context.run(samples.found_below).outputs()[0]

    assert (inside["variable"], outside["variable"]) == ("yes", "yes")
    assert inside["told"] == {"team": "red", "by": "parent", "level": "1"}
    assert outside["told"] == {"team": "red", "by": "driver"}
    assert inside["same"]
    assert re.fullmatch(rf"{tmp_path}/told-of/\w{{16}}/data", inside["data"])
    alone = result(samples.found)
    assert (alone["variable"], alone["told"]) == (None, {})


def test_a_dry_run_sends_nothing() -> None:
    planned = flyte.with_runcontext(dry_run=True, name="never").run(samples.double, x=1)

    assert (planned.name, planned.plan.name, planned.done()) == ("never", "samples.double", False)
    with pytest.raises(RunNotFoundError):
        Run.get("never")
    with pytest.raises(RuntimeUserError, match="planned only"):
        planned.outputs()
