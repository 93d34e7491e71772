"""Which outputs of tasks apps take: pinned with their content, or followed; and what nobody takes any more."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from flyteray._control.registry.registry import Registry
from flyteray._control.runs.outputs import Outputs
from flyteray._plan.info import ActionPhase, ReplicaInfo
from flyteray._plan.spec import (
    AppSpec,
    OutputRef,
    ParameterSpec,
    TaskPlan,
)
from flyteray._plan.values.outputs import output_key
from flyteray.errors import ParameterMaterializationError
from flyteray.storage import open_storage
from tests.unit.builders import NOON, app_spec, replica_info, run_spec, task_spec

TRAIN = OutputRef(task_name="env.train")


@pytest.fixture
def outputs(registry: Registry, tmp_path: Path) -> Outputs:
    return Outputs(registry, open_storage(tmp_path / "stored"))


def succeed(
    registry: Registry, name: str, version: str | None = None, phase: ActionPhase = ActionPhase.SUCCEEDED
) -> None:
    registry.runs.create(run_spec(name, version=version), NOON)
    if phase.is_terminal:
        registry.runs.finish(name, phase, None, 1, NOON)


def app(**parameter: Any) -> AppSpec:
    given = ParameterSpec(**{"name": "p", "kind": "object", **parameter})
    return app_spec("shop", parameters=(given,))


def pinned(outputs: Outputs, **parameter: Any) -> ParameterSpec:
    return asyncio.run(outputs.pin(app(**parameter))).parameters[0]


def test_an_output_is_pinned_to_the_newest_run_and_its_content(
    outputs: Outputs, registry: Registry, tmp_path: Path
) -> None:
    for name in ("r1", "r2"):
        succeed(registry, name)
        open_storage(tmp_path / "stored").put(output_key(name), b"weights")
    succeed(registry, "r3", phase=ActionPhase.FAILED)

    found = pinned(outputs, output=TRAIN)

    assert found.output == OutputRef(run_name="r2", task_name="env.train")
    assert found.hash == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    assert pinned(outputs, output=TRAIN) == found


def test_a_followed_output_stays_open_but_must_exist(outputs: Outputs, registry: Registry) -> None:
    follow = TRAIN.model_copy(update={"follow": True})
    with pytest.raises(ParameterMaterializationError, match=r"'p': No runs found for task 'env\.train'"):
        pinned(outputs, output=follow)

    succeed(registry, "r1")
    before = pinned(outputs, output=follow)
    succeed(registry, "r2")

    assert before == pinned(outputs, output=follow)
    assert before.output == follow


def test_a_run_without_outputs_is_refused(outputs: Outputs, registry: Registry) -> None:
    succeed(registry, "r1", phase=ActionPhase.RUNNING)

    with pytest.raises(ParameterMaterializationError, match="'p': Run 'r1' has no outputs, it is queued"):
        pinned(outputs, output=OutputRef(run_name="r1"))
    with pytest.raises(ParameterMaterializationError, match="'p': There is no run 'r0'"):
        pinned(outputs, output=OutputRef(run_name="r0"))


@pytest.mark.parametrize("typo", ["env.trian", "train", "evn.train", "other.train"])
def test_a_mistyped_task_is_told_which_one_is_near(outputs: Outputs, registry: Registry, typo: str) -> None:
    succeed(registry, "r1")

    with pytest.raises(ParameterMaterializationError) as refused:
        outputs.located(OutputRef(task_name=typo))

    assert str(refused.value) == (
        f"No runs found for task {typo!r} that succeeded. Did you mean 'env.train'?"
    )


def test_a_mistyped_task_that_was_only_declared_is_found_as_well(outputs: Outputs) -> None:
    declared = ["env.train", "env.evaluate"]

    with pytest.raises(ParameterMaterializationError, match=r"succeeded\. Did you mean 'env\.train'\?$"):
        outputs.located(OutputRef(task_name="env.trian"), declared)
    with pytest.raises(ParameterMaterializationError, match=r"Run the task first\.$"):
        outputs.located(TRAIN, declared)


def test_a_task_that_has_run_is_not_said_to_need_a_run_first(outputs: Outputs, registry: Registry) -> None:
    succeed(registry, "r1", phase=ActionPhase.FAILED)
    with pytest.raises(ParameterMaterializationError, match=r"succeeded\. The newest, 'r1', is failed$"):
        outputs.located(TRAIN)
    succeed(registry, "r2", phase=ActionPhase.RUNNING)
    with pytest.raises(ParameterMaterializationError, match=r"The newest, 'r2', is queued: wait for it"):
        outputs.located(TRAIN)
    succeed(registry, "r3", version="v1")
    with pytest.raises(ParameterMaterializationError, match=r"'r3', is of version 'v1'\. Run that version"):
        outputs.located(TRAIN.model_copy(update={"task_version": "v2"}))


def test_a_deployed_task_without_runs_is_to_be_run(outputs: Outputs, registry: Registry) -> None:
    task = task_spec(version="v1")
    asyncio.run(registry.tasks.deploy([TaskPlan(spec=task)], datetime.now(timezone.utc)))

    with pytest.raises(ParameterMaterializationError, match="Run the task first"):
        outputs.located(TRAIN)
    with pytest.raises(ParameterMaterializationError, match=r"Did you mean 'env\.train'"):
        outputs.located(OutputRef(task_name="env.tarin"))


def test_runs_of_one_version_count_where_one_is_asked_for(outputs: Outputs, registry: Registry) -> None:
    for number, version in enumerate(["v1", "v2", None, "v1"]):
        succeed(registry, f"r{number}", version)
    task = task_spec()
    for version in ("v1", "v2"):
        plan = TaskPlan(spec=task.model_copy(update={"version": version}))
        asyncio.run(registry.tasks.deploy([plan], datetime.now(timezone.utc)))

    def located(**fields: Any) -> str:
        return outputs.located(OutputRef(task_name="env.train", **fields))

    assert located() == located(task_version="v1") == "r3"
    assert located(task_version="v2") == located(latest_version=True) == "r1"
    with pytest.raises(ParameterMaterializationError, match="of version 'v3'"):
        located(task_version="v3")
    with pytest.raises(ParameterMaterializationError, match=r"'env\.tune'"):
        outputs.located(OutputRef(task_name="env.tune", latest_version=True))


def test_files_and_directories_are_known_by_their_content(outputs: Outputs, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_text("one")
    (folder / "b.log").write_text("log")
    file = {"kind": "file", "value": str(folder / "deep" / "a.bin")}
    directory = {"kind": "directory", "value": str(folder), "ignore_patterns": ("*.log",)}
    before = [pinned(outputs, **each).hash for each in (file, directory)]

    (folder / "b.log").write_text("more")
    assert [pinned(outputs, **each).hash for each in (file, directory)] == before
    (folder / "deep" / "a.bin").write_text("two")
    after = [pinned(outputs, **each).hash for each in (file, directory)]

    assert all(each is not None and each.startswith("sha256:") for each in before + after)
    assert not set(before) & set(after)


@pytest.mark.parametrize(
    "parameter",
    [
        {"kind": "file", "value": "/nowhere/x.bin"},
        {"kind": "file", "value": "s3://bucket/x.bin", "download": False},
        {"kind": "string", "value": "/etc/hostname"},
    ],
    ids=["missing", "not downloaded", "text"],
)
def test_what_is_not_read_here_has_no_content(outputs: Outputs, parameter: dict[str, Any]) -> None:
    assert pinned(outputs, **parameter) == app(**parameter).parameters[0]


def test_those_who_wait_are_woken_by_a_newer_run_of_their_task(outputs: Outputs, registry: Registry) -> None:
    succeed(registry, "r1")

    async def wait() -> list[list[str]]:
        now = await outputs.newer([TRAIN], ["r0"], 60)
        nothing = await outputs.newer([TRAIN], ["r1"], 0.01)
        waiting = [asyncio.ensure_future(outputs.newer([TRAIN], ["r1"], 60)) for _ in range(3)]
        await asyncio.sleep(0)
        succeed(registry, "r2")
        outputs.succeeded("r2")
        return [now, nothing, *await asyncio.gather(*waiting)]

    assert asyncio.run(asyncio.wait_for(wait(), 30)) == [["r1"], ["r1"], ["r2"], ["r2"], ["r2"]]
    assert not outputs._waiting


def test_an_older_run_that_ends_later_is_not_newer(outputs: Outputs, registry: Registry) -> None:
    succeed(registry, "r1", phase=ActionPhase.RUNNING)
    succeed(registry, "r2")
    registry.runs.finish("r1", ActionPhase.SUCCEEDED, None, 1, NOON)

    assert asyncio.run(outputs.newer([TRAIN], ["r2"], 0.01)) == ["r2"]


def replica(number: int, run: str) -> ReplicaInfo:
    return replica_info(number=number, outputs={"p": run})


def test_what_no_replica_and_no_app_takes_is_left_behind(outputs: Outputs, registry: Registry) -> None:
    follow = app(output=TRAIN.model_copy(update={"follow": True}))
    fixed = app(output=OutputRef(run_name="r2", task_name="env.train"))
    for number in range(1, 7):
        succeed(registry, f"r{number}")

    assert outputs.left_behind([fixed], [replica(1, "r4")]) == []  # nobody follows
    assert outputs.left_behind([follow, fixed], [replica(1, "r4"), replica(2, "r5")]) == ["r3", "r1"]


def test_what_is_left_behind_is_told_once(
    outputs: Outputs, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = [app(output=TRAIN.model_copy(update={"follow": True}))]
    asked = []
    listall = registry.runs.listall
    monkeypatch.setattr(registry.runs, "listall", lambda **given: asked.append(1) or listall(**given))
    for run in ("r1", "r2"):
        succeed(registry, run)

    assert outputs.left_behind(follow, [replica(1, "r1"), replica(2, "r2")]) == []
    for _ in range(3):  # replicas report every few seconds, most often the same
        assert outputs.left_behind(follow, [replica(1, "r1"), replica(2, "r2")]) == []
    assert len(asked) == 1
    assert outputs.left_behind(follow, [replica(1, "r2"), replica(2, "r2")]) == ["r1"]
    succeed(registry, "r3")
    outputs.succeeded("r3")
    assert outputs.left_behind(follow, [replica(1, "r2"), replica(2, "r2")]) == []
    assert outputs.left_behind(follow, [replica(1, "r3"), replica(2, "r3")]) == ["r2"]


def test_a_run_that_no_replica_took_is_left_behind_by_the_next(outputs: Outputs, registry: Registry) -> None:
    follow = [app(output=TRAIN.model_copy(update={"follow": True}))]
    for run in ("r1", "r2"):
        succeed(registry, run)

    assert outputs.left_behind(follow, [replica(1, "r1")]) == []
    succeed(registry, "r3")
    outputs.succeeded("r3")
    assert outputs.left_behind(follow, [replica(1, "r1")]) == ["r2"]
