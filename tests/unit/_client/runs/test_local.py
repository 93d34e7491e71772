from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.errors import CodeBundleError, InitializationError, OutputNotFoundError, RuntimeUserError
from flyteray.remote import ActionPhase, Run

env = flyte.TaskEnvironment(name="handled")
local = flyte.with_runcontext(mode="local", name="one", labels={"of": "mine"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    return tmp_path


@flyte.trace
def traced(x: int) -> int:
    return x + 1


@env.task(retries=flyte.RetryStrategy(1, backoff=flyte.Backoff(timedelta(0))))
def halves(x: int) -> int:
    if flyte.ctx().attempt_number == 0 or x % 2:
        raise ValueError(f"{x} is odd")
    return x // 2


@env.task
async def works(x: int) -> int:
    with flyte.group("first"):
        found = await halves.aio(traced(x))
    try:
        await halves.aio(found)
    except RuntimeUserError:
        return found
    return 0


def test_the_handle_of_a_local_run_tells_its_history() -> None:
    run = local.run(works, 5)

    assert isinstance(run, Run)
    assert run.sync() is run
    assert (run.run_name, run.phase, run.raw_phase) == ("one", ActionPhase.SUCCEEDED, ActionPhase.SUCCEEDED)
    assert (run.info.labels, run.to_dict()["task"]) == ({"of": "mine"}, "handled.works")
    root, trace, first, second = run.actions()
    assert [(each.task.rpartition(".")[2], each.group) for each in (root, trace, first, second)] == [
        ("works", None),
        ("traced", "first"),
        ("halves", "first"),
        ("halves", None),
    ]
    assert {each.parent for each in (trace, first, second)} == {"a0"}
    assert [each.phase for each in run.attempts(first.action)] == [ActionPhase.FAILED, ActionPhase.SUCCEEDED]
    failed = run.first_failure()
    assert failed is not None
    assert (failed.name, failed.attempts, failed.error_message) == (second.action, 2, "ValueError: 3 is odd")
    details = run.details()
    assert (details.inputs(), details.outputs(), details.task_name) == ({"x": 5}, (3,), "handled.works")
    assert [each.done() for each in run.watch()] == [True]
    assert (run.action.wait(quiet=True).outputs(), run.action.details().action_id.run_name) == ((3,), "one")


def test_it_says_what_a_local_run_has_not() -> None:
    run = local.run(works, 5)
    failed = run.first_failure()
    assert failed is not None

    for logs in (run.get_logs, run.show_logs, run.action.show_logs):
        with pytest.raises(InitializationError, match="wrote to the output of this process"):
            logs()
    with pytest.raises(InitializationError, match="have arrived is not recorded"):
        run.notifications()
    with pytest.raises(CodeBundleError, match="ran in this process"):
        run.download_code()
    with pytest.raises(RuntimeUserError, match="of its own task") as raised:
        failed.inputs()
    assert raised.value.code == "InputsNotKept"
    with pytest.raises(RuntimeUserError, match="3 is odd"):
        failed.outputs()
    with pytest.raises(ValueError, match="no action 'a1'"):
        run.attempts("a1")
    assert run.code_bundle() is None
    with pytest.warns(UserWarning, match="run in this process"):
        assert run.get_debug_url() is None


def test_outputs_of_children_are_not_kept() -> None:
    run = local.run(works, 5)
    child = next(each for each in run.actions() if each.phase is ActionPhase.SUCCEEDED and each.attempts == 2)

    async def first() -> None:
        async for details in run.watch.aio():
            assert await details.outputs.aio() == (3,)
        found = await run.details.aio()
        assert child in found.actions

    asyncio.run(first())
    with pytest.raises(OutputNotFoundError, match="of its own task"):
        run._values.outputs_of(child.action)


def test_that_nothing_is_written_of_a_tracked_run_is_said() -> None:
    with pytest.warns(UserWarning, match="tracked changes nothing: the handle .* has its history"):
        flyte.with_runcontext(mode="local", tracked=True)
