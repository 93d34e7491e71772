"""Deployed tasks and apps, used by name from the driver, from tasks and from an app's handlers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import flyteray as flyte
from flyteray._client.deploy import DeployedAppEnvironment
from flyteray.app import Domain, Scaling, Timeouts
from flyteray.errors import RemoteTaskNotFoundError, RemoteTaskUsageError
from flyteray.remote import App, Run, Task, TaskDetails
from tests.integration import sample_deployed as samples
from tests.waiting import eventually, eventually_equal

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def version(cluster: Any) -> Iterator[str]:
    """The version of the tasks; the app is up as well."""
    [deployment] = flyte.deploy(samples.app)
    starter = deployment.envs["starter"]
    assert isinstance(starter, DeployedAppEnvironment)
    assert starter.deployed_app is not None
    starter.deployed_app.wait()
    yield deployment.version
    if "starter" in [app.name for app in App.listall()]:
        App.delete("starter")


def test_deploying_again_changes_nothing(version: str) -> None:
    before = Task.get("deployed.scale", auto_version="latest").fetch()
    revision = App.get("starter").revision

    [again] = flyte.deploy(samples.env, samples.app)

    assert again.version == version
    after = Task.get("deployed.scale", auto_version="latest").fetch()
    assert after.version == before.version
    assert after.info.deployed_at > before.info.deployed_at
    assert App.get("starter").revision == revision
    assert list(again.envs) == ["deployed", "starter"]


def test_what_is_recorded_of_a_task(version: str) -> None:
    details = Task.get("deployed.scale", version=version).fetch()

    assert (details.name, details.version, details.docs) == ("deployed.scale", version, "Multiply.")
    assert (details.required_args, details.default_input_args) == (("x",), ("by",))
    assert (details.inputs, details.outputs) == ({"x": "int", "by": "int"}, {"o0": "int"})
    assert "deployed.scale" in [task.name for task in Task.listall(by_task_env="deployed")]
    assert [task.version for task in Task.listall("deployed.scale")] == [version]
    fetched = TaskDetails.fetch("deployed.scale", auto_version="latest")
    assert (fetched.version, fetched.url) == (version, "")
    assert json.loads(fetched.to_json())["plan"]["entrypoint"] is True
    begins = Task.listall(by_task_env="deployed", entrypoint=True)
    assert [(task.name, task.entrypoint) for task in begins] == [("deployed.scale", True)]
    sorted_by_name = [task.name for task in Task.listall(by_task_env="deployed", sort_by=("name", "desc"))]
    assert sorted_by_name == sorted(sorted_by_name, reverse=True)
    assert "deployed.scale" not in [task.name for task in Task.listall(None, "deployed", entrypoint=False)]
    with pytest.raises(ValueError, match="sort_by: choose one of created_at, name, version, not 'colour'"):
        Task.listall(sort_by=("colour", "asc"))


def test_a_deployed_task_is_run_by_name(version: str) -> None:
    task = Task.get("deployed.scale", auto_version="latest")

    assert flyte.run(task, x=2).outputs()[0] == 20
    assert flyte.run(task.fetch(), 2, by=3).outputs()[0] == 6
    linked = flyte.run(task.override(links=samples.Recipe()), x=2)
    # Told with the first that is heard of the action, when a worker has it.
    eventually_equal(lambda: linked.action.links, {"Recipe": "http://recipes/a0"})
    with pytest.raises(TypeError, match="no input 'y'"):
        flyte.run(task, x=1, y=2)
    with pytest.raises(ValueError, match="Missing required inputs: x"):
        flyte.run(task)
    failed = flyte.run(task, x="text")
    with pytest.raises(flyte.errors.RuntimeUserError, match="variable 'x'"):
        failed.outputs()
    with pytest.raises(RemoteTaskNotFoundError, match=r"'deployed\.scale'"):
        flyte.run(Task.get("deployed.sale", auto_version="latest"))
    with pytest.raises(RemoteTaskNotFoundError, match=f"no version 'v0'.*{version}"):
        Task.get("deployed.scale", version="v0").fetch()


def test_tasks_call_deployed_tasks_as_children(version: str) -> None:
    run = flyte.run(samples.asks_by_name, x=3, version=version)

    latest, named, changed, refused = run.outputs()[0]

    assert (latest, named, changed) == (30, [0, 2, 4], 10)
    assert refused == ["TypeError", "ValueError", "TypeTransformerFailedError", "RemoteTaskUsageError"]
    children = eventually(
        lambda: [each for each in run.actions() if each.parent == "a0"][4:] and run.actions()
    )
    assert {action.task for action in children if action.parent == "a0"} == {"deployed.scale"}
    linked = [action for action in children if action.links]
    assert [action.links for action in linked] == [{"Recipe": f"http://recipes/{linked[0].action}"}]


def test_a_deployed_task_is_mapped_by_its_name(version: str) -> None:
    plain, both, partial, refused = flyte.run(samples.maps_by_name, [1, 2]).outputs()[0]

    assert (plain, both, partial) == ([10, 20], [2, 6], [4, 8])
    assert "has 2 inputs (x, by), got 3 iterables" in refused


def test_a_deployed_task_can_ask_for_its_own_version(version: str) -> None:
    by_name = Task.get("deployed.asks_for_its_own_version", version=version)

    assert flyte.run(by_name, x=1).outputs()[0] == [version, version, 10]
    with pytest.raises(flyte.errors.RuntimeUserError, match="no deployed task"):
        flyte.run(samples.asks_for_its_own_version, x=1).outputs()


def test_handlers_run_deployed_tasks_and_tasks_know_the_app(version: str) -> None:
    endpoint = App.get("starter").endpoint

    assert httpx.get(f"{endpoint}/scale/4", timeout=60).json() == {"scaled": 40}
    assert httpx.get(f"{endpoint}/scale-sync/5", timeout=60).json() == {"scaled": 50}
    assert flyte.run(samples.own_endpoint).outputs()[0] == endpoint


def test_how_an_app_is_reached_changes_while_its_replica_runs(version: str) -> None:
    app = App.get("starter")
    port = app.url.rpartition(":")[2].strip("/")
    assert app.url == f"http://start.localhost:{port}/"
    assert app.info.hosts == ("start.localhost", "starter.example.com")
    assert app.info.links["Status"] == f"{app.url}status"

    def pid(host: str) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{port}/status", headers={"host": host}, timeout=60)
        return answer.json()["pid"] if answer.status_code == 200 else answer.status_code

    before = pid("start.localhost")
    samples.app.domain, samples.app.timeouts = Domain(subdomain="other"), Timeouts(request=30)
    changed = flyte.serve(samples.app)

    assert pid("starter.localhost") == before
    assert eventually(lambda: pid("other.localhost") == before)
    assert pid("start.localhost") == pid("starter.example.com") == 404
    assert changed.revision == app.revision


def test_two_apps_cannot_have_one_domain(version: str) -> None:
    samples.app.domain = Domain(custom_domain="starter.example.com")
    flyte.serve(samples.app)

    with pytest.raises(ValueError, match=r"'rival'.*starter\.example\.com.*'starter'"):
        flyte.serve(samples.same_domain)


def test_replicas_come_with_load_and_go_without_it_and_no_request_is_lost(version: str) -> None:
    app = App.get("starter")
    before = app.info.version
    answers: list[int] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                answers.append(client.get(f"{app.endpoint}/busy").status_code)

    asking = [threading.Thread(target=ask) for _ in range(5)]
    for each in asking:
        each.start()
    try:
        eventually(lambda: app.sync().info.ready_replicas == 2)
        over.wait(1)  # some requests for both
    finally:
        over.set()
        for each in asking:
            each.join()

    assert app.info.replicas == 2
    eventually(lambda: app.sync().info.ready_replicas == 1)
    assert set(answers) == {200}
    assert app.info.version == before


def test_replicas_come_by_the_clock_without_a_restart(version: str) -> None:
    app = App.get("starter")
    before = app.sync().info.version
    always = Scaling.During(flyte.Cron("0 0 * * *"), timedelta(days=2), replicas=2)

    samples.app.scaling = Scaling(1, schedule=[always])
    flyte.serve(samples.app)
    eventually(lambda: app.sync().info.ready_replicas == 2)
    samples.app.scaling = Scaling(1)
    flyte.serve(samples.app)

    eventually(lambda: app.sync().info.ready_replicas == 1)
    assert app.info.version == before


def test_a_version_never_changes(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = flyte.deploy(samples.env, version="v1")
    monkeypatch.setattr(samples.env.tasks["deployed.scale"], "docs", "Something else.")

    with pytest.raises(ValueError, match="'v1' already"):
        flyte.deploy(samples.env, version="v1")
    assert first.version == Task.get("deployed.scale", auto_version="latest").fetch().version == "v1"


def test_deployed_tasks_are_called_from_within_tasks_only(version: str) -> None:
    with pytest.raises(RemoteTaskUsageError, match=r"flyteray\.run"):
        asyncio.run(Task.get("deployed.scale", version=version)(x=1))


def test_a_task_that_an_app_has_started_outlives_it(version: str, tmp_path: Path) -> None:
    started, go_on = tmp_path / "started", tmp_path / "go_on"
    asked = {"started": str(started), "go_on": str(go_on)}
    name = httpx.get(f"{App.get('starter').endpoint}/start", params=asked, timeout=60).json()
    eventually(started.exists)

    App.delete("starter")
    assert not Run.get(name).done()
    go_on.touch()

    assert Run.get(name).outputs()[0] == "done"
