from __future__ import annotations

from typing import Any

import pytest

from flyteray import (
    AMD_GPU,
    APPLE_SILICON,
    GPU,
    HABANA_GAUDI,
    TPU,
    Device,
    Neuron,
    Resources,
    TaskEnvironment,
)
from flyteray._plan.resources import environment_spec, ray_options


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
def test_disk_and_shared_memory_are_text_with_a_unit_and_change_nothing(field: str) -> None:
    with pytest.warns(UserWarning, match=f"Ray reserves no {field}"):
        Resources(**{field: "10Gi"})

    with pytest.raises(ValueError, match=field):
        Resources(**{field: 10})  # type: ignore[arg-type]


def test_shared_memory_may_be_automatic() -> None:
    assert Resources(shm="auto").get_shared_memory() == ""
    assert Resources().get_shared_memory() is None


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (None, None),
        (0, None),
        (2, Device(2, "GPU")),
        ("T4:1", Device(1, "GPU", "T4")),
        ("A100_80G:8", Device(8, "GPU", "A100_80G")),
        ("L40S:1", Device(1, "GPU", "L40s")),
        ("L40S shared:1", Device(1, "GPU", "L40S shared")),
        ("RTX_PRO_6000:2", Device(2, "GPU", "RTX_PRO_6000")),
        ("Trn1:16", Device(16, "NEURON", "Trn1")),
        ("Inf1:16", Device(16, "NEURON", "Inf1")),
        ("Inf2:12", Device(12, "NEURON", "Inf2")),
        ("MI300X:1", Device(1, "AMD_GPU", "MI300X")),
        ("Gaudi1:1", Device(1, "HABANA_GAUDI", "Gaudi1")),
        ("AppleSilicon", Device(1, "APPLE_SILICON", "AppleSilicon")),
        ("AppleSilicon:1", Device(1, "APPLE_SILICON", "AppleSilicon")),
        (TPU("V5E", "2x4"), Device(1, "TPU", "V5E", "2x4")),
    ],
)
def test_gpus_are_a_number_or_a_kind_with_a_number(gpu: Any, expected: Device | None) -> None:
    assert Resources(gpu=gpu).get_device() == expected


@pytest.mark.parametrize(
    "gpu",
    [
        *(-1, 1.5, True, "auto", "T4", "T4:", "T4:0", "T4:9", "T4:x", "T5:1", "A2:2", "GB10:2", "MI100:2"),
        *(
            "T4 shared:2",
            "H100 shared:1",
            "RTX_PRO_6000:3",
            "Trn1:2",
            "Inf2:13",
            "Gaudi1:2",
            "AppleSilicon:2",
        ),
    ],
)
def test_bad_gpus_are_refused_with_their_value(gpu: Any) -> None:
    with pytest.raises(ValueError, match="gpu"):
        Resources(gpu=gpu)


def test_a_word_that_is_no_gpu_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"'auto' names an unknown kind\. Known are: .*T4"):
        Resources(gpu="auto")  # type: ignore[arg-type]


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


@pytest.mark.parametrize(("old", "new"), [("A100 80G:2", "A100_80G:2"), ("RTX PRO 6000:1", "RTX_PRO_6000:1")])
def test_old_spellings_are_rewritten_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(FutureWarning, match="is called"):
        resources = Resources(gpu=old)

    assert resources == Resources(gpu=new)
    with pytest.warns(FutureWarning, match="is called"):
        assert GPU(old.partition(":")[0], 3).device == new.partition(":")[0]


def test_devices_have_a_helper_for_each_family() -> None:
    assert GPU("T4", 9) == Device(9, "GPU", "T4")
    assert GPU("A100", 1, "1g.5gb") == Device(1, "GPU", "A100", "1g.5gb")
    assert Neuron("Trn2u") == Device(1, "NEURON", "Trn2u")
    assert AMD_GPU("MI100") == Device(1, "AMD_GPU", "MI100")
    assert HABANA_GAUDI("Gaudi1") == Device(1, "HABANA_GAUDI", "Gaudi1")
    assert APPLE_SILICON() == Device(1, "APPLE_SILICON", "AppleSilicon")
    assert TPU("V5P").partition is None


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: GPU("T5", 1), "T5"),
        (lambda: GPU(None, 1), "None"),  # type: ignore[arg-type]
        (lambda: GPU("T4", -1), "-1"),
        (lambda: GPU("A100", 1, "1g.10gb"), "1g.10gb"),
        (lambda: TPU("V4"), "V4"),
        (lambda: TPU("V5E", "2x2x1"), "2x2x1"),
        (lambda: Neuron("T4"), "T4"),
        (lambda: AMD_GPU("L4"), "L4"),
        (lambda: HABANA_GAUDI("Gaudi9"), "Gaudi9"),
        (lambda: Device(0, "GPU"), "0"),
        (lambda: Device(1, "GPU", "A100", "half"), "'A100' has no partition 'half'"),
        (lambda: Device(1, "TPU", "V5E", "2x2x1"), "'V5E' has no partition '2x2x1'"),
        (lambda: Device(1, "NPU"), "NPU"),  # type: ignore[arg-type]
    ],
)
def test_devices_that_there_are_not_are_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def test_a_partition_of_a_gpu_that_has_none_changes_nothing() -> None:
    with pytest.warns(UserWarning, match="can't be split"):
        device = GPU("T4", 1, "1g.5gb")

    assert asked(device) == {"num_gpus": 1, "accelerator_type": "T4"}


def asked(gpu: Any) -> dict[str, Any]:
    """Ray's options for accelerators alone."""
    env = TaskEnvironment("train", resources=Resources(cpu=0, gpu=gpu))
    options = ray_options(environment_spec(env, default_cpus=1))
    assert options.pop("num_cpus") == 0
    return options


@pytest.mark.parametrize(
    ("gpu", "options"),
    [
        (None, {}),
        (2, {"num_gpus": 2}),
        ("A100_80G:2", {"num_gpus": 2, "accelerator_type": "A100-80G"}),
        ("T4 shared:1", {"num_gpus": 0.25, "accelerator_type": "T4"}),
        ("L40S shared:1", {"num_gpus": 0.25, "accelerator_type": "L40S"}),
        (GPU("A100", 1, "3g.20gb"), {"num_gpus": 0.4285, "accelerator_type": "A100"}),
        (GPU("A100", 3, "3g.20gb"), {"num_gpus": 2, "accelerator_type": "A100"}),
        (GPU("RTX_PRO_6000", 1, "2g.48gb"), {"num_gpus": 0.5, "accelerator_type": "RTX-PRO-6000"}),
        (GPU("H200", 1, "7g.141gb"), {"num_gpus": 1, "accelerator_type": "H200"}),
        ("MI300X:1", {"num_gpus": 1, "accelerator_type": "AMD-Instinct-MI300X-OAM"}),
        ("Trn1:4", {"resources": {"neuron_cores": 8}, "accelerator_type": "aws-neuron-core"}),
        ("Inf1:1", {"resources": {"neuron_cores": 4}, "accelerator_type": "aws-neuron-core"}),
        ("Gaudi1:1", {"resources": {"HPU": 1}, "accelerator_type": "Intel-GAUDI"}),
        (TPU("V5P"), {"resources": {"TPU": 1}, "accelerator_type": "TPU-V5P"}),
        (
            TPU("V6E", "2x4"),
            {
                "resources": {"TPU": 8},
                "accelerator_type": "TPU-V6E",
                "label_selector": {"ray.io/tpu-topology": "2x4"},
            },
        ),
        (
            TPU("V5E", "4x4"),
            {
                "resources": {"TPU": 4},
                "accelerator_type": "TPU-V5LITEPOD",
                "label_selector": {"ray.io/tpu-topology": "4x4"},
            },
        ),
    ],
)
def test_accelerators_are_what_ray_calls_them(gpu: Any, options: dict[str, Any]) -> None:
    assert asked(gpu) == options


def test_a_mac_is_known_by_its_label() -> None:
    options = asked(APPLE_SILICON())

    assert options["num_gpus"] == 1
    assert "M3-Max" in options["label_selector"]["ray.io/accelerator-type"]
