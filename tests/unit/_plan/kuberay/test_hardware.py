"""What Kubernetes reserves for an environment, and what Ray is told of that: room for what it asks of Ray."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flyteray as flyte
from flyteray._plan.kuberay.hardware import PodHardware, pod_hardware
from flyteray._plan.placement import demand
from flyteray._plan.resources import environment_spec
from flyteray._plan.spec import EnvironmentSpec
from flyteray.app import AppEnvironment
from tests import kuberay

KINDS = [
    {"cpu": 2, "memory": "4Gi"},
    {"cpu": "500m"},
    {"cpu": ("500m", 2), "memory": ("1Gi", "2Gi")},
    {"gpu": 1},
    {"cpu": 1, "memory": "2G", "gpu": "T4:2"},
    {"cpu": 2, "memory": "3Gi", "gpu": flyte.GPU("T4 shared", 1)},
    {"gpu": flyte.GPU("A100", 1, partition="1g.5gb")},
    {"gpu": "MI300X:1"},
    {"gpu": flyte.Neuron("Trn1")},
    {"gpu": flyte.HABANA_GAUDI("Gaudi1")},
    {"gpu": flyte.TPU("V5E")},
    {"gpu": flyte.TPU("V6E", "2x4")},
    {"gpu": flyte.TPU("V5P", "4x4x4")},
]


def hardware(most: int | None = None, **resources: Any) -> tuple[EnvironmentSpec, PodHardware]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Ray does not reserve
        env = AppEnvironment(name="a", resources=flyte.Resources(**resources), args="serve")
    spec = environment_spec(env, default_cpus=0.0)
    return spec, pod_hardware(env, spec, most)


def as_seen_by_ray(pod: PodHardware) -> dict[str, Any]:
    """The node type that Ray's autoscaler makes of the pods."""
    group = {
        "groupName": "g",
        "minReplicas": 0,
        "maxReplicas": 1,
        "rayStartParams": {},
        "resources": dict(pod.ray),
        "labels": dict(pod.labels),
        "template": {
            "spec": {
                "nodeSelector": dict(pod.selector),
                "containers": [
                    {"resources": {"requests": dict(pod.requests), "limits": dict(pod.limits)}},
                ],
            }
        },
    }
    head = {**group, "resources": {"CPU": "0"}}
    cluster = {"metadata": {"name": "c"}, "spec": {"headGroupSpec": head, "workerGroupSpecs": [group]}}
    types: dict[str, Any] = kuberay.node_types(cluster)
    return types["g"]


@pytest.mark.parametrize("resources", KINDS, ids=str)
def test_ray_finds_room_in_a_pod_for_as_many_replicas_as_it_holds(resources: dict[str, Any]) -> None:
    spec, pod = hardware(**resources)
    there = as_seen_by_ray(pod)

    for name, amount in demand(spec).items():
        needed = amount if name.startswith("accelerator_type:") else amount * pod.holds
        assert there["resources"].get(name, 0) >= needed - 1e-6, name
    assert spec.labels.items() <= there["labels"].items()


@pytest.mark.parametrize(
    ("resources", "devices"),
    [
        ({"gpu": "T4:2"}, {"nvidia.com/gpu": "2"}),
        ({"gpu": "MI300X:1"}, {"amd.com/gpu": "1"}),
        ({"gpu": flyte.Neuron("Trn1")}, {"aws.amazon.com/neuroncore": "2"}),
        ({"gpu": flyte.HABANA_GAUDI("Gaudi1")}, {"habana.ai/gaudi": "1"}),
        ({"gpu": flyte.TPU("V6E", "2x4")}, {"google.com/tpu": "8"}),
        ({"cpu": 1}, {}),
    ],
    ids=str,
)
def test_kubernetes_is_asked_for_accelerators_in_its_own_words(
    resources: dict[str, Any], devices: dict[str, str]
) -> None:
    _, pod = hardware(**resources)

    assert {name: pod.limits[name] for name in pod.devices} == devices


def test_a_pod_has_more_memory_than_its_replica_because_ray_needs_some() -> None:
    _, pod = hardware(cpu=2, memory="4Gi")

    assert (pod.ray["memory"], pod.requests["memory"], pod.limits["memory"]) == ("4Gi", "6Gi", "6Gi")


def test_limits_and_shared_memory_and_disk_mean_in_kubernetes_what_they_say() -> None:
    _, pod = hardware(cpu=("500m", 2), memory=("1Gi", "2Gi"), shm="512Mi", disk="20Gi")

    assert pod.requests == {"cpu": "500m", "memory": "3584Mi", "ephemeral-storage": "20Gi"}
    assert pod.limits == {"cpu": "2", "memory": "4608Mi"}


@pytest.mark.parametrize(
    ("most", "holds", "pods"), [(None, 4, 1), (4, 4, 1), (3, 3, 1), (1, 1, 1), (9, 4, 3)]
)
def test_replicas_that_share_a_gpu_share_a_pod(most: int | None, holds: int, pods: int) -> None:
    _, pod = hardware(most, cpu=2, memory="1Gi", gpu=flyte.GPU("T4 shared", 1))

    assert pod.holds == holds
    assert pod.groups(most or holds) == pods
    assert pod.ray["CPU"] == str(2 * holds)
    assert pod.limits["nvidia.com/gpu"] == "1"


def test_the_pods_of_a_tpu_slice_belong_together() -> None:
    _, pod = hardware(gpu=flyte.TPU("V5P", "4x4x4"))

    assert (pod.hosts, pod.groups(16), pod.groups(17)) == (16, 1, 2)
    assert pod.selector == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
    }


def test_what_no_pod_can_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'a' asks for the GPU of a Mac, and no Kubernetes node has one"):
        hardware(gpu=flyte.APPLE_SILICON())
    with pytest.raises(ValueError, match="'a' asks for a TPU of no kind: name it"):
        hardware(gpu=flyte.Device(1, "TPU"))
