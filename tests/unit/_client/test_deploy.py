"""What is deployed of environments, without a cluster."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime, timezone
from typing import Any

import pytest

import flyteray as flyte
from flyteray._client.deploy import DeployedAppEnvironment, DeployedTaskEnvironment
from flyteray._plan.info import TaskInfo
from flyteray._plan.spec import EnvironmentSpec, InputSpec, TaskPlan, TaskSpec
from flyteray._plan.tasks import overridden
from flyteray._plan.values.inputs import bind_deployed
from flyteray.errors import DeploymentError, RemoteTaskUsageError
from flyteray.remote import Task, TaskDetails
from tests.unit._client import deployed_samples as samples


def dry(*envs: Any, **options: Any) -> Any:
    return flyte.deploy(*envs, dry_run=True, **options)


def train() -> TaskPlan:
    [deployment] = dry(samples.env)
    found = deployment.envs["samples"]
    assert isinstance(found, DeployedTaskEnvironment)
    plan: TaskPlan = found.deployed_entities[0].plan
    return plan


def test_what_an_environment_depends_on_is_deployed_with_it_and_comes_first() -> None:
    [deployment] = dry(samples.front)

    assert list(deployment.envs) == ["base", "samples", "model", "front"]
    front = deployment.envs["front"]
    assert isinstance(front, DeployedAppEnvironment)
    assert front.deployed_app is None
    assert [row[1] for row in deployment.table_repr()] == [
        ("name", "base.seed"),
        ("name", "samples.train"),
        ("name", "model"),
        ("name", "front"),
    ]


def test_environments_that_share_something_are_one_deployment() -> None:
    deployments = dry(samples.model, samples.alone, samples.base, samples.front)

    assert [set(each.envs) for each in deployments] == [{"alone"}, {"base", "samples", "model", "front"}]
    assert dry() == []


def test_a_plan_says_what_a_task_takes_and_returns() -> None:
    plan = train()

    assert plan.inputs == (
        InputSpec(name="rounds", type="int"),
        InputSpec(name="rate", type="float", default="0.5"),
        InputSpec(name="odd", type="object", default="<tests.unit._client.deployed_samples.Odd object>"),
    )
    assert plan.outputs == {"o0": "str", "o1": "int"}
    assert plan.docs == "Fit a model."


def test_the_version_is_the_same_in_every_process_and_another_for_other_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (
        "import flyteray; from tests.unit._client import deployed_samples as s; "
        "print(flyteray.deploy(s.front, dry_run=True)[0].version)"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    [here] = dry(samples.front)
    monkeypatch.setattr(samples.env.tasks["samples.train"], "docs", "Other words.")
    [changed] = dry(samples.front)

    assert elsewhere.stdout.strip() == here.version
    assert changed.version != here.version


def test_a_version_can_be_named_for_tasks_and_apps() -> None:
    [deployment] = dry(samples.model, version="v1.2")

    rows = [dict(row) for row in deployment.table_repr()]
    assert [row["version"] for row in rows] == ["v1.2", "v1.2", "model.v1.2"]
    assert "v1.2" in deployment.summary_repr()
    assert deployment.env_repr()[0] == (("environment", "base"), ("kind", "tasks"))


@pytest.mark.parametrize("version", ["", "a b", "-a", "a/b", "a" * 64])
def test_a_version_that_is_no_name_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="can't be a version's name"):
        dry(samples.alone, version=version)


def test_what_is_no_environment_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not <task samples\.train>.*flyteray\.run"):
        dry(samples.train)


def test_two_environments_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Two different environments are named 'base'"):
        dry(samples.same_name, samples.front)
    within = flyte.TaskEnvironment(name="within", depends_on=[samples.same_name, samples.env])
    with pytest.raises(ValueError, match="Two different environments are named 'base'"):
        dry(within)


def test_an_environment_that_needs_two_of_one_name_is_refused() -> None:
    env = flyte.TaskEnvironment("front", [flyte.TaskEnvironment("base"), flyte.TaskEnvironment("base")])

    with pytest.raises(ValueError, match="Two different environments are named 'base'"):
        dry(env)


def test_apps_that_need_one_another_in_a_circle_are_refused() -> None:
    one, two = flyte.app.AppEnvironment(name="one"), flyte.app.AppEnvironment(name="two")
    one.add_dependency(two)
    two.add_dependency(one)

    with pytest.raises(ValueError, match="one -> two -> one"):
        dry(one)


def test_an_app_with_nothing_to_run_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to run"):
        dry(samples.nothing_to_run)


def test_the_older_spelling_of_a_dry_run_is_taken_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="dry_run"):
        deployments = flyte.deploy(samples.alone, dryrun=True)

    assert list(deployments[0].envs) == ["alone"]


def test_code_that_is_not_sent_needs_a_version() -> None:
    with pytest.raises(DeploymentError, match=r'version="\.\.\."'):
        dry(samples.alone, copy_style="none")


def test_inputs_of_a_deployed_task_are_checked_by_name() -> None:
    plan = train()

    assert bind_deployed(plan, (3,), {"rate": 1}) == {"rounds": 3, "rate": 1}
    with pytest.raises(TypeError, match=r"no input 'wrong'\. Its inputs: rounds, rate, odd"):
        bind_deployed(plan, (3,), {"wrong": 1})
    with pytest.raises(TypeError, match="'rounds' twice"):
        bind_deployed(plan, (3,), {"rounds": 1})
    with pytest.raises(ValueError, match="Missing required inputs: rounds"):
        bind_deployed(plan, (), {})
    with pytest.raises(ValueError, match="got 4 positional"):
        bind_deployed(plan, (1, 2, 3, 4), {})
    with pytest.raises(RemoteTaskUsageError, match=r"by name: write rounds=\.\.\."):
        bind_deployed(plan, (3,), {}, named_only=True)


def test_a_deployed_task_can_have_other_settings() -> None:
    plan = train()

    def changed(changes: dict[str, Any], of: TaskPlan = plan) -> TaskPlan:
        return overridden(of, changes).plan

    spec = changed({"resources": flyte.Resources(cpu=2), "env_vars": {"A": "1"}, "retries": 3}).spec
    assert (spec.environment.num_cpus, spec.environment.env_vars, spec.retry.count) == (2, {"A": "1"}, 3)
    assert changed({}) == plan
    on_gpu = changed({"resources": flyte.Resources(gpu="T4:1")})
    assert on_gpu.spec.environment == EnvironmentSpec(num_gpus=1, accelerator_type="T4")
    assert on_gpu.spec.digest() == TaskSpec.model_validate_json(on_gpu.spec.model_dump_json()).digest()
    assert changed({"resources": flyte.Resources(), "env_vars": None}, on_gpu) == plan
    secret = changed({"secrets": flyte.Secret("k", group="g")}).spec.environment.secrets
    assert [(each.name, each.env_var) for each in secret] == [("g/k", "G_K")]
    with pytest.raises(ValueError, match="Name cannot be overridden"):
        changed({"name": "x"})
    with pytest.raises(TypeError, match="'colour'"):
        changed({"colour": "red"})
    with pytest.raises(TypeError, match="resources must be a Resources"):
        changed({"resources": 5})
    with pytest.raises(TypeError, match="env_vars"):
        changed({"env_vars": {"A": 1}})


def test_warm_processes_links_and_artifacts_of_a_deployed_task_are_overridden() -> None:
    plan = train()
    warm = overridden(
        plan, {"reusable": flyte.ReusePolicy(1), "entrypoint": True, "produces_artifacts": True}
    )

    assert (warm.plan.entrypoint, warm.plan.spec.produces_artifacts, warm.links) == (True, True, ())
    assert warm.plan.spec.reuse is not None
    assert warm.plan.spec.reuse.most == 1
    assert overridden(warm.plan, {"reusable": "off"}).plan.spec.reuse is None
    with pytest.raises(ValueError, match="Cannot override env_vars when reusable is set"):
        overridden(warm.plan, {"env_vars": {"A": "1"}})
    with pytest.warns(UserWarning, match="pod_template has no meaning"):
        overridden(plan, {"pod_template": flyte.PodTemplate()})


def test_details_tell_the_cache() -> None:
    def details(plan: TaskPlan) -> TaskDetails:
        return TaskDetails(TaskInfo(plan=plan, deployed_at=datetime.now(timezone.utc)))

    plan = train()
    plan = plan.model_copy(update={"spec": plan.spec.model_copy(update={"version": "v1"})})
    assert not details(plan).cache.is_enabled()
    cache = flyte.Cache("auto", version_override="3", max_age=5, serialize=True)
    told = details(overridden(plan, {"cache": cache}).plan).cache
    assert (told.behavior, told.version_override, told.serialize) == ("auto", "3", True)
    assert told.max_age == cache.max_age


def test_a_handle_names_one_version() -> None:
    assert repr(Task.get("env.train", version="v1")) == "Task(name='env.train', version='v1')"
    assert repr(Task.get("env.train", auto_version="latest").override(retries=1)).endswith("'latest')")
    for versions in ({}, {"version": "v1", "auto_version": "latest"}):
        with pytest.raises(ValueError, match="one of them"):
            Task.get("env.train", **versions)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='must be "latest" or "current"'):
        Task.get("env.train", auto_version="newest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no deployed task"):
        Task.get("env.train", auto_version="current")


def test_projects_of_flyte_mean_nothing_and_say_so() -> None:
    with pytest.warns(UserWarning, match="project has no meaning"):
        Task.get("env.train", project="p", version="v1")


def test_a_deployed_task_does_not_run_in_local_mode() -> None:
    task = Task.get("env.train", version="v1")

    with pytest.raises(ValueError, match="on its cluster only"):
        flyte.with_runcontext(mode="local").run(task, x=1)
    with pytest.raises(RemoteTaskUsageError, match=r"flyteray\.run"):
        asyncio.run(task(x=1))
