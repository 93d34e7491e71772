"""Triggers as they are declared are held against their tasks when they are deployed, without a cluster."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

import flyteray as flyte
from flyteray._client.triggers.declared import PlannedTrigger, by_name, of_task
from flyteray._plan.spec import CodeRef
from flyteray._plan.tasks import task_plan
from flyteray._plan.triggers.artifacts import WatchSpec
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray.io import File

env = flyte.TaskEnvironment("triggered")
CODE = CodeRef(bundle="b", module="m", name="n")


@env.task
def nightly(when: datetime, rounds: int = 1) -> int:
    return rounds


def planned(*args: Any, **options: Any) -> PlannedTrigger:
    return of_task(flyte.Trigger(*args, **options), nightly, task_plan(nightly, CODE))


def test_a_trigger_is_kept_with_what_its_runs_are() -> None:
    spec, _, active = planned(
        "t",
        flyte.FixedRate(5, datetime(2026, 1, 1)),
        inputs={"when": flyte.TriggerTime, "rounds": 3},
        env_vars={"A": "1"},
        custom_context={"team": "a"},
    )

    assert (spec.task, spec.name, spec.declared, active) == ("triggered.nightly", "t", True, True)
    assert spec.schedule == ScheduleSpec(every_s=300, start=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert (spec.given, spec.time_inputs) == (("rounds",), ("when",))
    assert spec.run.task.environment.env_vars == {"A": "1"}
    assert spec.run.wide.custom_context == {"team": "a"}


def test_a_schedule_gives_its_time_to_an_input_of_that_name_that_nothing_else_is_given_to() -> None:
    env = flyte.TaskEnvironment("clock")

    @env.task
    def strikes(trigger_time: datetime, x: int = 1) -> None: ...

    @env.task
    def may_strike(trigger_time: datetime | None = None) -> None: ...

    noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    fixed = flyte.Trigger.hourly(inputs={"trigger_time": noon})

    assert of_task(flyte.Trigger.hourly(), strikes, task_plan(strikes, CODE)).spec.time_inputs == (
        "trigger_time",
    )
    assert of_task(flyte.Trigger.hourly(), may_strike, task_plan(may_strike, CODE)).spec.time_inputs == ()
    assert of_task(fixed, strikes, task_plan(strikes, CODE)).spec.given == ("trigger_time",)


def test_one_that_is_fired_by_hand_may_leave_inputs_to_who_fires_it() -> None:
    spec, _, _ = planned("by hand")

    assert (spec.schedule, spec.given) == (None, ())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, r"Trigger 't': Missing required inputs: when"),
        ({"inputs": {"when": flyte.TriggerTime, "x": 1}}, TypeError, "Trigger 't'.*no input 'x'"),
        ({"inputs": {"when": 1}}, TypeError, "Trigger 't'.*variable 'when'"),
        (
            {"inputs": {"when": flyte.TriggerTime, "rounds": flyte.TriggerTime}},
            TypeError,
            "Trigger 't'.*variable 'rounds'",
        ),
    ],
)
def test_inputs_that_the_task_does_not_take_are_refused_when_it_is_deployed(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planned("t", flyte.Cron("@daily"), **options)


def test_inputs_that_are_too_large_are_refused() -> None:
    @env.task
    def takes_text(text: str) -> None: ...

    trigger = flyte.Trigger("t", flyte.Cron("@daily"), inputs={"text": "x" * 2**21})
    with pytest.raises(ValueError, match="a file"):
        of_task(trigger, takes_text, task_plan(takes_text, CODE))


def test_a_dry_deployment_checks_triggers_too() -> None:
    dry = flyte.TaskEnvironment("dry")

    @dry.task(triggers=flyte.Trigger("t", flyte.Cron("@daily"), inputs={"y": 1}))
    def task(x: int) -> None: ...

    with pytest.raises(TypeError, match=r"Trigger 't'.*no input 'y'"):
        flyte.deploy(dry, dry_run=True)


def test_one_of_a_deployed_task_is_held_against_its_inputs_by_name() -> None:
    plan = task_plan(nightly, CODE)
    plan = plan.model_copy(update={"spec": plan.spec.model_copy(update={"version": "v1"})})

    spec, _, _ = by_name(flyte.Trigger.hourly("when"), plan, newest=False)

    assert (spec.version, spec.declared, spec.time_inputs) == ("v1", False, ("when",))
    assert by_name(flyte.Trigger.hourly("when"), plan, newest=True).spec.version is None
    with pytest.raises(ValueError, match="Missing required inputs: when"):
        by_name(flyte.Trigger.hourly(), plan, newest=False)


def test_options_without_a_meaning_say_so_when_it_is_deployed() -> None:
    trigger = flyte.Trigger("t", annotations={"a": "b"})

    with pytest.warns(UserWarning, match="annotations has no meaning"):
        of_task(trigger, nightly, task_plan(nightly, CODE))


def test_what_is_known_of_an_artifact_is_left_to_when_it_comes() -> None:
    @env.task
    def scores(model: File, day: datetime, rounds: int = 1) -> None: ...

    plan = task_plan(scores, CODE)
    inputs = {"model": flyte.TriggeredArtifact, "day": flyte.TriggeredPartition("date"), "rounds": 2}
    trigger = flyte.Trigger("t", flyte.OnArtifact("m", region="eu"), inputs=inputs)

    spec, _, _ = of_task(trigger, scores, plan)

    assert spec.watch == WatchSpec(name="m", partitions={"region": "eu"})
    assert (spec.artifact_input, spec.partition_inputs, spec.given) == ("model", {"day": "date"}, ("rounds",))
    assert spec.automation == "artifact m region=eu"
    with pytest.raises(ValueError, match="Missing required inputs: model, day"):
        of_task(flyte.Trigger("t", flyte.OnArtifact("m")), scores, plan)
