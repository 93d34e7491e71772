"""Triggers on a real cluster: deployed, fired by the clock and by hand, and through the death of the controller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray.errors import RemoteTaskNotFoundError, TriggerNotFoundError
from flyteray.io import Dir
from flyteray.remote import Artifact, Run, Trigger
from tests.integration import sample_triggered as samples
from tests.processes import process
from tests.waiting import eventually

TASK = "triggered.notes"


@pytest.fixture(scope="module", autouse=True)
def deployed(cluster: LocalCluster) -> Iterator[None]:
    flyte.deploy(samples.env)
    yield
    for trigger in Trigger.listall():
        Trigger.delete(trigger.name, trigger.task_name)


def test_no_tick_is_lost_and_none_is_doubled_when_the_controller_is_killed(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    Trigger.create(
        flyte.Trigger(
            "second",
            flyte.Cron("* * * * * *"),
            inputs={"when": flyte.TriggerTime, "word": "w", "folder": str(tmp_path)},
        ),
        TASK,
    )

    def ticks() -> list[str]:
        return sorted(os.listdir(tmp_path))

    eventually(lambda: len(ticks()) >= 2)
    process(cluster, "ray::Controller").kill()
    before = len(ticks())
    eventually(lambda: len(ticks()) >= before + 4)
    Trigger.update("second", TASK, active=False)

    def all_ended() -> bool:
        runs = [run for run in Run.listall(task_name=TASK, limit=1000) if run.name.startswith("second-")]
        return all(run.info.phase.is_terminal for run in runs) and len(runs) == len(ticks())

    assert eventually(all_ended)
    times = [datetime.strptime(each, "%Y%m%dT%H%M%S-w") for each in ticks()]
    assert times == [times[0] + timedelta(seconds=number) for number in range(len(times))]
    assert [(tmp_path / each).read_text().count("\n") for each in ticks()] == [1] * len(times)


def test_what_is_declared_is_deployed_and_switched_on_and_off() -> None:
    trigger = Trigger.get(name="each second", task_name=TASK)
    assert (trigger.is_active, trigger.next_time) == (False, None)
    assert str(trigger.automation_spec) == "* * * * * * UTC"

    trigger.activate()
    first = eventually(lambda: trigger.sync().info.last_run) or ""
    trigger.deactivate()

    run = Run.get(first)
    assert run.outputs()[0].endswith("-tick of the clock")
    assert not trigger.sync().is_active
    assert [each.name for each in Trigger.listall("triggered.add")] == ["by hand"]


def test_a_trigger_is_fired_by_hand_with_other_inputs() -> None:
    by_hand = Trigger.get(name="by hand", task_name="triggered.add")

    assert flyte.run(by_hand, y=2).outputs()[0] == 3
    assert flyte.run(by_hand, x=5, y=5).outputs()[0] == 10
    with pytest.raises(ValueError, match=r"Missing required inputs: y .*'by hand'"):
        flyte.run(by_hand)
    with pytest.raises(TypeError, match="no input 'z'"):
        flyte.run(by_hand, y=1, z=1)
    scheduled = Trigger.get(name="each second", task_name=TASK)
    assert asyncio.run(scheduled.get_details()).to_dict()["spec"]["name"] == "each second"
    [output] = flyte.with_runcontext(custom_context={"who": "me"}).run(scheduled).outputs()
    assert output.endswith("-tick of me")


def test_one_that_is_made_by_itself_stays_when_its_task_is_deployed_anew() -> None:
    made = Trigger.create(
        flyte.Trigger("made", flyte.FixedRate(60), inputs={"x": 1, "y": 2}), "triggered.add"
    )
    assert made.next_time is not None

    flyte.deploy(samples.env)

    assert {each.name for each in Trigger.listall("triggered.add")} == {"by hand", "made"}
    assert flyte.run(made).outputs()[0] == 3
    Trigger.delete("made", "triggered.add")
    with pytest.raises(TriggerNotFoundError, match="'by hand'"):
        made.sync()
    with pytest.raises(RemoteTaskNotFoundError):
        Trigger.create(flyte.Trigger("t"), "triggered.nothing")


def test_a_new_version_of_an_artifact_starts_a_run_with_it(tmp_path: Path) -> None:
    trigger = Trigger.get(name="on model", task_name="triggered.scores")
    for region in ("us", "eu"):
        flyte.run(samples.trains, str(tmp_path), region).wait(quiet=True)

    name = eventually(lambda: trigger.sync().info.last_run) or ""
    assert Run.get(name).outputs()[0] == "eu: weights of euweights of eu"

    newest = Artifact.get("model", region="eu")
    assert (newest.kind, newest.partitions, newest.url) == (
        "model",
        {"region": "eu"},
        str(tmp_path / "model-eu"),
    )
    assert newest.to_python().path == newest.url
    assert [each.partitions["region"] for each in Artifact.listall("model", kind="model")] == ["eu", "us"]
    assert Artifact.partition_values("model", "region") == ["eu", "us"]
    by_hand = Artifact.create(newest.to_python(), name="model", version="mine", partitions={"region": "eu"})
    with pytest.raises(TypeError, match="expected a Dir, got a File"):
        Artifact.create(newest.to_python(), name="model", python_type=Dir)
    assert eventually(lambda: trigger.sync().info.last_run != name)
    assert by_hand.source is None
    assert (
        len([run for run in Run.listall(task_name="triggered.scores") if run.name.startswith("on-model-")])
        == 2
    )
    by_hand.delete()
    assert Artifact.get("model").version == newest.version
    assert "model" in Artifact.list_names()


def test_who_calls_a_task_can_say_that_its_output_is_an_artifact(tmp_path: Path) -> None:
    run = flyte.run(samples.names_what_others_write, str(tmp_path))
    run.wait(quiet=True)
    run.raise_for_status()

    [named] = Artifact.listall("named")
    assert (named.version, named.source, named.info.spec.description) == ("v1", run.name, "by its caller")
    _a_handle_is_an_input(named)
    named.delete()


def _a_handle_is_an_input(named: Artifact) -> None:
    deployed = flyte.remote.Task.get("triggered.joins", auto_version="latest")
    below = flyte.run(samples.joins_below)
    for run in (flyte.run(deployed, model=named, others=[named, named]), below):
        [file] = run.outputs()
        assert Path(file.path).read_text().startswith("plain and plain")
    first, second = Artifact.listall("joined", day=(date(2026, 1, 1), "2026-12-31"))
    assert (first.info.spec.parents, second.info.spec.parents) == (("v1",), ("v1",))
    [newest] = Artifact.listall("joined", latest_per_partition=True)
    assert (newest.version, newest.partitions) == (first.version, {"day": date(2026, 3, 1)})
    assert Artifact.get("joined", day=date(2026, 3, 1)).version == first.version
    assert Artifact.partition_values("joined", "day") == [date(2026, 3, 1)]
    assert Artifact.get_schema("joined").time_key == "day"
    trigger = Trigger.get(name="on joined", task_name="triggered.tells_day")
    name = eventually(lambda: trigger.sync().info.last_run) or ""
    assert Run.get(name).outputs()[0] == "2026-03-01T00:00:00+00:00"
    for version in (first, second):
        version.delete()
    local = flyte.with_runcontext(mode="local").run(samples.scores, named, "here", 1)
    assert local.outputs() == ("here: plain",)
