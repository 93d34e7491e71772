"""A pod has the hardware of an environment: what Kubernetes reserves for it, and what Ray counts of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flyteray._declare.environment import Environment
from flyteray._declare.quantity import cpus, size_bytes
from flyteray._declare.resources import Resources
from flyteray._plan.spec import EnvironmentSpec

RAYS_OWN = 2 << 30  # bytes of a pod for Ray's processes, the ingress and small objects

_LEAST_CPUS = 1.0
_LEAST_MEMORY = 2 << 30
_DEVICES = {"TPU": "google.com/tpu", "neuron_cores": "aws.amazon.com/neuroncore", "HPU": "habana.ai/gaudi"}
_TOPOLOGY = "ray.io/tpu-topology"
# Of the smallest slice that a pod can have: GKE's name of the kind, the topology, and its chips.
_TPUS = {
    "TPU-V5LITEPOD": ("tpu-v5-lite-podslice", "1x1", 1),
    "TPU-V5P": ("tpu-v5p-slice", "2x2x1", 4),
    "TPU-V6E": ("tpu-v6e-slice", "1x1", 1),
}


@dataclass(frozen=True)
class PodHardware:
    """The hardware of one kind of pod.

    Attributes:
        requests, limits: What Kubernetes reserves, as its quantities.
        ray: What Ray counts, as a group's ``resources``.
        labels: Of the Ray node.
        selector: Labels of the Kubernetes nodes that have it.
        holds: How many replicas one pod has room for: several share a GPU that each wants a part of.
        hosts: How many pods belong together, as those of a TPU slice do.
    """

    requests: Mapping[str, str]
    limits: Mapping[str, str]
    ray: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    holds: int = 1
    hosts: int = 1

    @property
    def devices(self) -> list[str]:
        """The accelerators, as Kubernetes calls them."""
        return [name for name in self.limits if "/" in name]

    def groups(self, replicas: int) -> int:
        """How many pods, or slices of them, have room for so many replicas."""
        return math.ceil(replicas / (self.holds * self.hosts))


def pod_hardware(env: Environment, spec: EnvironmentSpec, most: int | None = None) -> PodHardware:
    """The pods of an environment, of which there are at most ``most`` replicas at one time (None: any number).

    ValueError where no pod can have it.
    """
    if any(key != _TOPOLOGY for key in spec.labels):
        raise ValueError(
            f"{type(env).__name__} {env.name!r} asks for the GPU of a Mac, and no Kubernetes node has one: give it "
            "other resources."
        )
    declared = env.resources or Resources()
    accelerator = spec.accelerator_type or ""
    devices = {name: int(amount) for name, amount in spec.resources.items()}
    selector, labels, hosts, holds = {}, dict(spec.labels), 1, 1
    if "TPU" in devices:
        kind, topology, chips = _tpu(env, accelerator)
        if _TOPOLOGY in labels:
            topology, chips = labels[_TOPOLOGY], devices["TPU"]
            hosts = math.prod(int(side) for side in topology.split("x")) // chips
        holds = _at_most(chips // devices["TPU"], most)
        devices["TPU"] = chips
        selector = {
            "cloud.google.com/gke-tpu-accelerator": kind,
            "cloud.google.com/gke-tpu-topology": topology,
        }
    if 0 < spec.num_gpus < 1:
        holds = _at_most(math.floor(1 / spec.num_gpus + 1e-9), most)
    gpus = math.ceil(spec.num_gpus)
    cores = spec.num_cpus * holds or _LEAST_CPUS
    memory = (spec.memory or 0) * holds or _LEAST_MEMORY
    beside = RAYS_OWN + (size_bytes("shm", declared.shm) if declared.shm not in (None, "auto") else 0)
    most_memory = memory
    if isinstance(declared.memory, tuple):
        most_memory = size_bytes("memory", declared.memory[1]) * holds
    limits = {"memory": _bytes(most_memory + beside)}
    if isinstance(declared.cpu, tuple):
        limits["cpu"] = _cores(cpus(declared.cpu[1]) * holds)
    if gpus:
        limits["amd.com/gpu" if accelerator.startswith("AMD-") else "nvidia.com/gpu"] = str(gpus)
    limits |= {_DEVICES[name]: str(amount) for name, amount in devices.items()}
    disk = {"ephemeral-storage": _bytes(size_bytes("disk", declared.disk))} if declared.disk else {}
    counted = {
        "CPU": str(math.ceil(cores)),
        "memory": _bytes(memory),
        **({"GPU": str(gpus)} if gpus else {}),
        **{name: str(amount) for name, amount in devices.items()},
        # The autoscaler has to know it before there is a pod that could tell.
        **({f"accelerator_type:{accelerator}": "1"} if accelerator else {}),
    }
    return PodHardware(
        requests={"cpu": _cores(cores), "memory": _bytes(memory + beside), **disk},
        limits=limits,
        ray=counted,
        labels=labels,
        selector=selector,
        holds=holds,
        hosts=hosts,
    )


def _tpu(env: Environment, kind: str) -> tuple[str, str, int]:
    if kind not in _TPUS:
        raise ValueError(
            f"{type(env).__name__} {env.name!r} asks for a TPU of no kind: name it, as in TPU('V5E')."
        )
    return _TPUS[kind]


def _at_most(number: int, most: int | None) -> int:
    return max(1, number if most is None else min(number, most))


def _cores(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{math.ceil(number * 1000)}m"


def _bytes(number: int) -> str:
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if number % size == 0:
            return f"{number // size}{unit}"
    return str(number)
