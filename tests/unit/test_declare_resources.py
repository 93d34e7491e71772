from __future__ import annotations

from typing import Any

import pytest

from flyteray import Resources, TaskEnvironment
from flyteray._declare.resources import Device
from flyteray._plan.resources import environment_spec


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (None, None),
        (2, 2.0),
        (0, 0.0),
        (0.5, 0.5),
        ("500m", 0.5),
        ("1.5", 1.5),
        ((1, 4), 1.0),
        (("250m", 1), 0.25),
    ],
)
def test_cpus_are_numbers_text_or_a_request_with_a_limit(cpu: Any, expected: float | None) -> None:
    assert Resources(cpu=cpu).cpu_request() == expected


@pytest.mark.parametrize(
    "cpu", ["-2", -1, "two", "", "500x", (1,), (1, 2, 3), (None, 1), [1, 2], True, float("nan"), (4, 1)]
)
def test_bad_cpus_are_refused_with_their_value(cpu: Any) -> None:
    with pytest.raises(ValueError, match="cpu"):
        Resources(cpu=cpu)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ("512Mi", 512 * 2**20),
        ("4Gi", 4 * 2**30),
        ("2G", 2 * 10**9),
        ("1.5Gi", 3 * 2**29),
        ("1024", 1024),
        (("1Gi", "2Gi"), 2**30),
    ],
)
def test_memory_is_text_with_a_unit(memory: Any, expected: int) -> None:
    assert Resources(memory=memory).memory_request() == expected


@pytest.mark.parametrize("memory", [1024, "zzz", "", "4GiB3", "-1Gi", ("1Gi",), ("2Gi", "1Gi"), (1, 2), True])
def test_bad_memory_is_refused_with_its_value(memory: Any) -> None:
    with pytest.raises(ValueError, match="memory"):
        Resources(memory=memory)


@pytest.mark.parametrize("field", ["disk", "shm"])
def test_disk_and_shared_memory_are_text_with_a_unit(field: str) -> None:
    Resources(**{field: "10Gi"})

    with pytest.raises(ValueError, match=field):
        Resources(**{field: 10})  # type: ignore[arg-type]


def test_shared_memory_may_be_automatic() -> None:
    assert Resources(shm="auto").shm == "auto"


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (None, None),
        (0, None),
        (2, Device(2)),
        ("T4:1", Device(1, "T4")),
        ("A100_80G:8", Device(8, "A100_80G")),
        ("L40S:1", Device(1, "L40s")),
    ],
)
def test_gpus_are_a_number_or_a_kind_with_a_number(gpu: Any, expected: Device | None) -> None:
    assert Resources(gpu=gpu).get_device() == expected


@pytest.mark.parametrize("gpu", [-1, "T4", "T4:0", "T4:9", "T4:x", "T5:1", 1.5, "auto", True, "A2:2"])
def test_bad_gpus_are_refused_with_their_value(gpu: Any) -> None:
    with pytest.raises(ValueError, match="gpu"):
        Resources(gpu=gpu)


def test_ray_is_asked_for_what_was_declared() -> None:
    env = TaskEnvironment(
        "train", resources=Resources(cpu=("2", 4), memory="1Gi", gpu="L40s:2"), env_vars={"SEED": "7"}
    )

    spec = environment_spec(env, default_cpus=1)

    assert spec.num_cpus == 2
    assert spec.memory == 2**30
    assert (spec.num_gpus, spec.accelerator_type) == (2, "L40S")
    assert spec.env_vars == {"SEED": "7"}


@pytest.mark.parametrize("default", [0.0, 1.0])
def test_undeclared_cpus_are_the_default_of_the_kind(default: float) -> None:
    spec = environment_spec(TaskEnvironment("train", resources=Resources(memory="1Gi")), default_cpus=default)

    assert spec.num_cpus == default


def test_an_explicit_zero_of_cpus_is_kept() -> None:
    assert (
        environment_spec(TaskEnvironment("train", resources=Resources(cpu=0)), default_cpus=1).num_cpus == 0
    )


def test_a_number_of_gpus_asks_for_any_kind() -> None:
    spec = environment_spec(TaskEnvironment("train", resources=Resources(gpu=1)), default_cpus=1)

    assert (spec.num_gpus, spec.accelerator_type) == (1, None)
