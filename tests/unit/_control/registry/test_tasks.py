"""What the registry keeps of deployed tasks."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from flyteray._control.registry.registry import Registry
from flyteray._plan.spec import CodeRef, InputSpec, TaskPlan
from flyteray.errors import RemoteTaskNotFoundError
from tests.unit.builders import NOON, task_spec


def plan(version: str, name: str = "env.train", bundle: str = "b") -> TaskPlan:
    spec = task_spec(name, code=CodeRef(bundle=bundle, module="m", name="n"), version=version)
    return TaskPlan(spec=spec, inputs=(InputSpec(name="x", type="int"),), outputs={"o0": "str"}, docs="d")


def at(hour: int) -> datetime:
    return NOON + timedelta(hours=hour)


def test_a_task_is_found_by_version_and_by_being_the_newest(registry: Registry) -> None:
    asyncio.run(registry.tasks.deploy([plan("v1"), plan("v1", "env.other")], at(0)))
    asyncio.run(registry.tasks.deploy([plan("v2")], at(1)))

    assert asyncio.run(registry.tasks.get("env.train", "v1")).plan == plan("v1")
    assert asyncio.run(registry.tasks.get("env.train")).plan.version == "v2"
    assert asyncio.run(registry.tasks.get("env.train")).deployed_at == at(1)
    assert [info.plan.version for info in asyncio.run(registry.tasks.listall("env.train"))] == ["v2", "v1"]
    newest = [(info.plan.name, info.plan.version) for info in asyncio.run(registry.tasks.listall())]
    assert newest == [("env.train", "v2"), ("env.other", "v1")]
    assert len(asyncio.run(registry.tasks.listall(limit=1))) == 1
    assert asyncio.run(registry.tasks.listall(environment="nobodys")) == []
    assert len(asyncio.run(registry.tasks.listall(environment="env"))) == 2


def test_a_version_that_is_deployed_again_is_the_newest_again(registry: Registry) -> None:
    asyncio.run(registry.tasks.deploy([plan("v1")], at(0)))
    asyncio.run(registry.tasks.deploy([plan("v2")], at(1)))

    asyncio.run(registry.tasks.deploy([plan("v1")], at(2)))

    assert asyncio.run(registry.tasks.get("env.train")).plan.version == "v1"


def test_a_version_never_changes_and_nothing_of_such_a_deployment_is_kept(registry: Registry) -> None:
    asyncio.run(registry.tasks.deploy([plan("v1")], at(0)))

    with pytest.raises(ValueError, match=r"'env\.train' has a version 'v1' already"):
        asyncio.run(registry.tasks.deploy([plan("v1", "env.new"), plan("v1", bundle="other")], at(1)))

    assert asyncio.run(registry.tasks.get("env.train")).plan == plan("v1")
    with pytest.raises(RemoteTaskNotFoundError):
        asyncio.run(registry.tasks.get("env.new"))


def test_who_asks_for_what_is_not_there_learns_what_is(registry: Registry) -> None:
    with pytest.raises(RemoteTaskNotFoundError, match="`flyteray deploy` deploys tasks"):
        asyncio.run(registry.tasks.get("env.train"))
    asyncio.run(registry.tasks.deploy([plan("v1")], at(0)))

    with pytest.raises(
        RemoteTaskNotFoundError, match=r"no deployed task 'env\.trian'.*Did you mean 'env\.train'"
    ):
        asyncio.run(registry.tasks.get("env.trian"))
    with pytest.raises(RemoteTaskNotFoundError, match=r"no version 'v9'\. The newest are 'v1'"):
        asyncio.run(registry.tasks.get("env.train", "v9"))


def test_a_registry_from_before_tasks_were_deployed_is_opened(registry: Registry, url: str) -> None:
    with registry.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE tasks")
    registry.close()

    again = Registry(url)

    assert asyncio.run(again.tasks.listall()) == []
    again.close()
