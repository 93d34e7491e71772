"""The history of runs: what is recorded of them and of their actions, and found again."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import flyteray as flyte
from flyteray.models import ActionPhase
from flyteray.remote import Action, ActionDetails, Run, RunDetails, TimeFilter
from tests.integration import sample_history as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

LARGE = 1 << 20  # bytes


def settled(run: Run, count: int) -> list[Action]:
    """The actions of a run that has ended, once all workers have told of them."""
    run.wait(quiet=True)
    return eventually(
        lambda: (
            len(found := Action.listall(for_run_name=run.name)) == count
            and all(each.info.phase.is_terminal for each in found)
            and found
        )
    )


@pytest.fixture(scope="module")
def family(cluster: object) -> Run:
    run = flyte.run(samples.family, 3, size=LARGE // 8)
    settled(run, 4)
    return run


@pytest.fixture(scope="module")
def doomed(cluster: object) -> Run:
    run = flyte.run(samples.doomed, 3)
    settled(run, 3)
    return run


def test_inputs_and_outputs_of_each_action_are_read_by_name(family: Run) -> None:
    root, *children = Action.listall(for_run_name=family.name)
    inputs = [(child.task_name.rpartition(".")[2], child.inputs()) for child in children]
    mean = next(child for child in children if child.task_name == "history.mean")

    assert root.name == family.action.name == "a0"
    assert (family.inputs(), root.inputs()) == ({"x": 3, "size": LARGE // 8},) * 2
    assert [given for name, given in inputs if name == "double"] == [{"x": 3}, {"x": 6}]
    np.testing.assert_array_equal(mean.inputs()["values"], np.full(LARGE // 8, 2.0))
    assert family.outputs() == root.outputs() == (12, 2.0)
    assert sorted(child.outputs().o0 for child in children) == [2.0, 6, 12]
    assert Path(root.url).is_dir()


def test_what_flyte_has_from_async_functions_can_be_awaited(family: Run) -> None:
    async def look() -> tuple[object, ...]:
        details = await family.action.details()
        listed = [each.name async for each in Action.listall.aio(for_run_name=family.name)]
        lines = [line async for line in family.get_logs.aio()]
        watched = [each.phase async for each in family.watch()]
        return (await details.inputs())["x"], (await details.outputs())[0], len(listed), lines, watched

    assert asyncio.run(look()) == (3, 12, 4, [], [ActionPhase.SUCCEEDED])
    assert next(Run.listall(task_name="history.family", limit=1), None).name == family.name  # type: ignore[call-overload]


def test_an_action_tells_its_phases_with_their_times(family: Run) -> None:
    child = next(each for each in Action.listall(for_run_name=family.name) if each.group == "twice")
    details = child.details()
    queued, running, ended = details.get_phase_transitions()

    assert (details.parent_name, details.attempts, details.done(), details.is_running) == (
        "a0",
        1,
        True,
        False,
    )
    assert [each.phase.value for each in (queued, running, ended)] == ["queued", "running", "succeeded"]
    assert queued.end_time == running.start_time <= running.end_time == ended.start_time
    assert ended.end_time is None
    assert details.queued_time == queued.end_time - queued.start_time
    assert details.running_time == details.phase_durations[ActionPhase.RUNNING]
    assert details.runtime == details.queued_time + details.running_time
    assert (details.error_info, details.abort_info, details.logs_available()) == (None, None, True)
    with pytest.raises(ValueError, match="has no attempt 2: it has had 1"):
        details.get_phase_transitions(2)
    with pytest.raises(ValueError, match="has no action 'nobody' that has begun"):
        ActionDetails.get(run_name=family.name, name="nobody")


def test_of_a_failed_run_the_action_that_failed_first_is_told(doomed: Run) -> None:
    first = doomed.first_failure()

    assert first is not None
    assert (first.task_name, first.attempts) == ("history.unlucky", 2)
    assert first.error_info is not None
    assert (first.error_info.code, first.error_info.message) == ("ValueError", "not 3")
    phases = [each.phase.value for each in first.get_phase_transitions()]
    assert phases == ["queued", "running", "failed"] * 2
    assert [each.phase.value for each in first.get_phase_transitions(1)] == ["queued", "running", "failed"]
    with pytest.raises(flyte.errors.RuntimeUserError, match="not 3") as raised:
        doomed.raise_for_status()
    assert raised.value.code == "ValueError"
    with pytest.raises(flyte.errors.RuntimeUserError, match="not 3"):
        Action.get(run_name=doomed.name, name=first.name).outputs()


def test_a_run_that_goes_on_has_no_status_to_raise(tmp_path: Path) -> None:
    run = flyte.with_runcontext(name=f"unended-{uuid.uuid4().hex[:8]}").run(samples.family, 1, 10**9)

    with pytest.raises(flyte.errors.RuntimeUserError) as raised:
        run.raise_for_status()
    run.abort("enough")

    assert raised.value.code == "RunNotDoneError"
    with pytest.raises(flyte.errors.ActionAbortedError, match="enough"):
        run.raise_for_status()
    details = run.action.details()
    assert details.abort_info is not None
    assert "enough" in details.abort_info.reason


def test_runs_are_found_by_labels_phases_times_and_version(family: Run, doomed: Run) -> None:
    before = datetime.now(timezone.utc)
    team = uuid.uuid4().hex[:8]
    context = flyte.with_runcontext(labels={"team": team, "Tier": "one"}, version=f"v-{team}")
    labelled = context.run(samples.double, 1)
    labelled.wait(quiet=True)

    def names(**asked: object) -> list[str]:
        return [run.name for run in Run.listall(**asked)]  # type: ignore[arg-type]

    assert (
        names(with_labels={"team": team})
        == names(with_labels={"team": team, "Tier": "one"})
        == [labelled.name]
    )
    assert names(with_labels={"team": team, "tier": "one"}) == names(with_label_keys=["TEAM"]) == []
    assert labelled.name in names(with_label_keys=["Tier"])
    assert names(task_version=f"v-{team}") == [labelled.name]
    assert names(created_at=TimeFilter(after=before), task_name="history.double") == [labelled.name]
    assert labelled.name not in names(updated_at=TimeFilter(before=before), limit=1000)
    assert names(in_phase=(ActionPhase.FAILED, "timed_out"), task_name="history.doomed") == [doomed.name]
    oldest = names(sort_by=("created_at", "asc"), limit=1000)
    assert oldest.index(family.name) < oldest.index(labelled.name)
    assert Run.get(labelled.name).info.labels == RunDetails.get(labelled.name).labels == context.labels
    failed = Action.listall(for_run_name=doomed.name, in_phase=[ActionPhase.FAILED], sort_by=("name", "asc"))
    assert {each.task_name for each in failed} == {"history.unlucky", "history.doomed"}
    assert {each.parent_name for each in Action.listall(doomed.name, parent_name="a0")} == {"a0"}
    with pytest.raises(ValueError, match=r"no phase 'filed'.*Did you mean 'failed'"):
        Run.listall(in_phase="filed")
    with pytest.raises(ValueError, match="choose one of created_at"):
        Run.listall(sort_by=("colour", "asc"))


def test_the_code_of_a_run_is_there_again(family: Run, tmp_path: Path) -> None:
    bundle = family.code_bundle()
    folder = family.download_code(tmp_path / "code")

    assert bundle is not None
    assert bundle.tgz is not None
    assert Path(bundle.tgz).is_file()
    assert [each.name for each in folder.rglob("sample_history.py")] == ["sample_history.py"]
    assert family.download_code(tmp_path, extract=False) == tmp_path / f"{bundle.computed_version}.zip"
    with pytest.warns(UserWarning, match="no debug URL"):
        assert family.get_debug_url() is None


def test_a_run_that_is_deleted_is_gone_with_all_that_it_left() -> None:
    run = flyte.run(samples.double, 4)
    assert run.outputs()[0] == 8
    folder = Path(run.url)
    assert folder.is_dir()

    Run.delete(run.name)

    with pytest.raises(flyte.errors.RunNotFoundError):
        Run.get(run.name)
    assert not folder.exists()


def test_each_action_has_the_links_of_its_task() -> None:
    run = flyte.with_runcontext(custom_context={"team": "blue"}).run(samples.linked, 1)
    root, child = settled(run, 2)

    assert root.links == {"Board": f"https://board/{run.name}//a0?blue"}
    assert child.links == {"Board": f"https://board/{run.name}/a0/{child.name}?blue"}


def test_an_action_is_aborted_by_its_handle() -> None:
    run = flyte.run(samples.outlives_its_child)
    child = eventually(
        lambda: [
            each
            for each in Action.listall(run.name, in_phase=ActionPhase.RUNNING)
            if each.task_name == "history.sleeps"
        ]
    )[0]

    child.abort("not needed")

    assert run.outputs()[0].startswith("ActionAbortedError")
    assert "not needed" in run.outputs()[0]


def test_the_context_of_all_actions_tells_one_start_of_the_run_and_where_things_are() -> None:
    said = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)
    run = flyte.with_runcontext(run_start_time=said).run(samples.facts)
    here, below, output, base, bundle = run.outputs()

    assert here == below == said
    assert (output, base) == (f"{base}/a0", str(Path(run.url)))
    assert bundle == run.code_bundle().computed_version  # type: ignore[union-attr]


def test_what_programs_write_is_kept_with_its_times() -> None:
    before = datetime.now(timezone.utc)
    run = flyte.run(samples.loud)
    run.wait(quiet=True)
    whole = ["from a program", "from Python", "without an end", "to the other stream"]

    lines = eventually(lambda: sorted(found := run.get_logs()) == sorted(whole) and found)
    stamped = run.get_logs(show_ts=True)

    assert [line.partition(" ")[2] for line in stamped] == lines
    for line in stamped:
        assert before <= datetime.fromisoformat(line.partition(" ")[0]) <= datetime.now(timezone.utc)
