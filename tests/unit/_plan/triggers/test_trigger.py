from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from flyteray._plan.bundle.shipping import PLAIN_NAME
from flyteray._plan.spec import RunSpec, RunWide
from flyteray._plan.triggers.trigger import TriggerSpec, inputs_of, run_name
from flyteray._plan.values import pickling
from tests.unit.builders import NOON, task_spec


def asked(name: str, **wide: Any) -> RunSpec:
    return RunSpec(name=name, task=task_spec(), wide=RunWide(**wide))


def spec(name: str = "nightly", **wide: Any) -> TriggerSpec:
    return TriggerSpec(name=name, run=asked("", **wide))


def test_a_run_is_named_by_trigger_and_tick() -> None:
    name = run_name(spec(), NOON)

    assert name.startswith("nightly-20260301T120000-")
    assert name == run_name(spec(), NOON.astimezone(timezone(timedelta(hours=5))))
    assert len({name, run_name(spec("other"), NOON), run_name(spec(), NOON + timedelta(seconds=1))}) == 3


@pytest.mark.parametrize("name", ["a b/c", "…", "x" * 300, "-", "Every day at 6:00"])
def test_any_trigger_names_its_runs_as_runs_may_be_named(name: str) -> None:
    assert PLAIN_NAME.fullmatch(run_name(spec(name), NOON))


def test_inputs_that_are_known_when_it_fires_join_those_that_were_given() -> None:
    given = pickling.dump({"x": 1, "when": None})

    assert pickling.load(inputs_of(given, {"when": NOON})) == {"x": 1, "when": NOON}
    assert inputs_of(given, {}) is given


def test_what_is_said_of_a_run_goes_before_what_its_trigger_says() -> None:
    trigger = spec(env_vars={"A": "1", "B": "1"}, raw_data_path="/of-trigger")

    run = trigger.asked_for(asked("mine", env_vars={"B": "2"}, custom_context={"k": "v"}))

    assert run.name == "mine"
    assert run.wide == RunWide(
        env_vars={"A": "1", "B": "2"}, custom_context={"k": "v"}, raw_data_path="/of-trigger"
    )


def test_the_newest_version_is_run_with_the_variables_of_the_trigger() -> None:
    trigger = spec(env_vars={"A": "1"})

    run = trigger.run_of("r", "request", NOON, task_spec(version="v2"))

    assert (run.task.version, run.task.environment.env_vars) == ("v2", {"A": "1"})
    assert trigger.model_copy(update={"newest": True}).version is None
