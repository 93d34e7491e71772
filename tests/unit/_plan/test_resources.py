"""Options of Ray's that others have written become what an environment asks for."""

from __future__ import annotations

from typing import Any

import pytest

from flyteray._plan.resources import asked_of_ray, of_part
from flyteray._plan.spec import EnvironmentSpec, PartSpec


def test_what_a_replica_of_another_deployment_asks_for_is_known() -> None:
    options = {"num_gpus": 1, "memory": 5.0, "label_selector": {"zone": "a"}, "runtime_env": {"env_vars": {}}}

    assert asked_of_ray(options) == {"num_gpus": 1.0, "memory": 5, "labels": {"zone": "a"}}


@pytest.mark.parametrize(
    ("options", "environment", "replicas"),
    [
        ({}, EnvironmentSpec(num_cpus=0), 1),
        ({"num_replicas": 3, "ray_actor_options": {"num_cpus": 2}}, EnvironmentSpec(num_cpus=2), 3),
        ({"autoscaling_config": {"min_replicas": 0}}, EnvironmentSpec(num_cpus=0), 0),
    ],
    ids=str,
)
def test_a_part_asks_for_no_cpu_unless_it_says_so(
    options: dict[str, Any], environment: EnvironmentSpec, replicas: int
) -> None:
    assert of_part(PartSpec(options={"name": "Part", **options})) == (environment, replicas)
