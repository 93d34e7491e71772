"""The deployments that an application of Ray Serve's is bound of. No Ray runs here."""

from __future__ import annotations

from typing import Any

import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from flyteray._serve.compositions import graph
from flyteray._serve.compositions.part import variables


@serve.deployment(ray_actor_options={"runtime_env": {"env_vars": {"A": "1"}}})
class Part:
    def __init__(self, by: int) -> None: ...

    @serve.multiplexed
    async def load(self, model: str) -> None: ...

    def __call__(self) -> None: ...


@serve.deployment(num_replicas=2)
class Front:
    def __init__(self, *parts: Any, **named: Any) -> None: ...

    def __call__(self) -> None: ...


shared = Part.bind(1)
app = Front.bind([shared, Part.bind(2)], other={"same": shared})


def test_each_deployment_is_described_once_by_plain_values() -> None:
    described = graph.describe("Mine", app)

    assert described.ingress == {"name": "Front", "num_replicas": 2}
    assert [each["options"]["name"] for each in described.parts] == ["Part", "Part_1"]
    assert all(each["multiplexed"] for each in described.parts)
    assert variables(described.parts[0]["options"]) == {"A": "1"}


def test_a_process_finds_its_own_deployment_with_handles_in_its_arguments() -> None:
    front = graph.ingress(app, "v1", local=False)
    (first, second), same = front.init_args[0], front.init_kwargs["other"]["same"]

    assert isinstance(first, DeploymentHandle)
    assert [(each.deployment_name, each.app_name) for each in (first, second, same)] == [
        ("Part", "v1"),
        ("Part_1", "v1"),
        ("Part", "v1"),
    ]
    assert graph.part(app, "v1", "Part_1").init_args == (2,)


def test_a_module_that_binds_something_else_elsewhere_is_told_of() -> None:
    with pytest.raises(
        LookupError, match=r"has no deployment 'Gone' here.* It has 'Part', 'Part_1', 'Front'"
    ):
        graph.part(app, "v1", "Gone")
