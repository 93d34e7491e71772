"""Declared hardware becomes what Ray is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flyteray._declare.device import PARTITIONS, SHARED, Device
from flyteray._declare.environment import Environment
from flyteray._declare.resources import Resources
from flyteray._declare.tasks.task import Task
from flyteray._plan.credentials import secret_specs
from flyteray._plan.images.image import image_env_vars, image_spec, is_program
from flyteray._plan.spec import EnvironmentSpec, PartSpec

_SHARE = 0.25  # of a GPU, for kinds that are shared; what Ray counts, not what the hardware enforces

# Ray's words where they differ from Flyte's.
_RAY_ACCELERATORS = {
    "A100_80G": "A100-80G",  # on nodes that are labelled so: Ray itself finds "A100" in either size
    "Gaudi1": "Intel-GAUDI",
    "L40s": "L40S",
    "MI100": "AMD-Instinct-MI100",
    "MI210": "AMD-Instinct-MI210",
    "MI250": "AMD-Instinct-MI250X-MI250",
    "MI250X": "AMD-Instinct-MI250X",
    "MI300A": "AMD-Instinct-MI300A",
    "MI300X": "AMD-Instinct-MI300X-OAM",
    "MI325X": "AMD-Instinct-MI325X-OAM",
    "MI350X": "AMD-Instinct-MI350X-OAM",
    "MI355X": "AMD-Instinct-MI355X-OAM",
    "RTX_PRO_4500": "RTX-PRO-4500",
    "RTX_PRO_6000": "RTX-PRO-6000",
    "V5E": "TPU-V5LITEPOD",
    "V5P": "TPU-V5P",
    "V6E": "TPU-V6E",
}
_NEURON_CORES = {"Inf1": 4, "Inf2": 2, "Trn1": 2, "Trn1n": 2, "Trn2": 4, "Trn2u": 4}  # of one chip
_ONE_HOST_TPUS = ("1x1", "2x2", "2x4")  # of V5E and V6E
_TPUS_OF_A_HOST = 4
_TPU_TOPOLOGY = "ray.io/tpu-topology"
_ACCELERATOR_LABEL = "ray.io/accelerator-type"
_APPLE_CHIPS = [f"M{number}{size}" for number in range(1, 10) for size in ("", "-Pro", "-Max", "-Ultra")]


def environment_spec(env: Task[..., Any] | Environment, default_cpus: float) -> EnvironmentSpec:
    """What Ray is asked for on behalf of a task (its overrides count) or an app's replica.

    CPUs where none are declared: 1 for tasks; 0 for apps, so that two versions fit side by side.
    """
    return EnvironmentSpec(
        **hardware(env.resources, default_cpus),
        env_vars=image_env_vars(env.image) | dict(env.env_vars or {}),
        secrets=secret_specs(env.secret_list()),
        image=image_spec(env.image, env.name.partition(".")[0], is_program(env)),
    )


def hardware(resources: Resources | None, default_cpus: float) -> dict[str, Any]:
    """The fields of an :class:`EnvironmentSpec` that tell of hardware, all of them."""
    declared = resources or Resources()
    cpus = declared.cpu_request()
    device = declared.get_device()
    return {
        "num_cpus": default_cpus if cpus is None else cpus,
        "memory": declared.memory_request(),
        "num_gpus": 0.0,
        "accelerator_type": None,
        "resources": {},
        "labels": {},
        **({} if device is None else _accelerators(device)),
    }


def ray_options(environment: EnvironmentSpec) -> dict[str, Any]:
    """The hardware of an environment as options of a Ray task or actor."""
    further = {
        "num_gpus": environment.num_gpus or None,
        "memory": environment.memory,
        "accelerator_type": environment.accelerator_type,
        "resources": dict(environment.resources) or None,
        "label_selector": dict(environment.labels) or None,
    }
    asked = {name: value for name, value in further.items() if value is not None}
    return {"num_cpus": environment.num_cpus, **asked}


def asked_of_ray(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an :class:`EnvironmentSpec` that tell of the hardware in options of a Ray task or actor."""
    fields = {"label_selector": "labels"}
    named = ("num_cpus", "num_gpus", "memory", "accelerator_type", "resources", "label_selector")
    whole = {"memory": int, "num_cpus": float, "num_gpus": float}
    return {
        fields.get(name, name): whole.get(name, lambda value: value)(options[name])
        for name in named
        if options.get(name) is not None
    }


def of_part(part: PartSpec) -> tuple[EnvironmentSpec, int]:
    """What a replica of a part of a Ray Serve application asks for, and how many there are at least."""
    asked = asked_of_ray(part.options.get("ray_actor_options") or {"num_cpus": 0})
    scaling = part.options.get("autoscaling_config") or {}
    return EnvironmentSpec(**asked), scaling.get("min_replicas", part.options.get("num_replicas", 1))


def _accelerators(device: Device) -> dict[str, Any]:
    """The fields of an :class:`EnvironmentSpec` that ask for a device."""
    kind = (device.device or "").removesuffix(SHARED)
    named = {"accelerator_type": _RAY_ACCELERATORS.get(kind, kind)} if kind else {}
    match device.device_class:
        case "TPU":
            chips = _tpu_chips(kind, device.partition) if device.partition else device.quantity
            topology = {"labels": {_TPU_TOPOLOGY: device.partition}} if device.partition else {}
            return {"resources": {"TPU": chips}, **named, **topology}
        case "NEURON":
            cores = device.quantity * _NEURON_CORES.get(kind, 1)
            return {"resources": {"neuron_cores": cores}, "accelerator_type": "aws-neuron-core"}
        case "HABANA_GAUDI":
            return {"resources": {"HPU": device.quantity}, **named}
        case "APPLE_SILICON":
            one_of = f"in({','.join(_APPLE_CHIPS)})"
            return {"num_gpus": device.quantity, "labels": {_ACCELERATOR_LABEL: one_of}}
    return {"num_gpus": _gpus(device, kind), **named}


def _gpus(device: Device, kind: str) -> float:
    """GPUs as Ray counts them: a fraction of one, or whole ones."""
    part = 1.0
    if device.device and device.device.endswith(SHARED):
        part = _SHARE
    elif device.partition and kind in PARTITIONS:
        slices, whole = (int(name.partition("g")[0]) for name in (device.partition, PARTITIONS[kind][-1]))
        part = math.floor(slices / whole * 10_000) / 10_000  # as finely as Ray counts; all of them fit on one
    wanted = device.quantity * part
    return wanted if wanted < 1 else math.ceil(wanted)


def _tpu_chips(kind: str, topology: str) -> int:
    """The chips that one host has of a slice."""
    if kind != "V5P" and topology in _ONE_HOST_TPUS:
        return math.prod(int(side) for side in topology.split("x"))
    return _TPUS_OF_A_HOST
