"""Accelerators have kinds, of which one node can have so many, and which can be split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

DeviceClass: TypeAlias = Literal["GPU", "TPU", "NEURON", "AMD_GPU", "HABANA_GAUDI", "APPLE_SILICON"]
"""The families of accelerators."""

SHARED = " shared"
"""The ending of kinds of which one gets a share: ``"T4 shared"``."""

_APPLE = "AppleSilicon"
_UP_TO_8 = range(1, 9)
_NEURON_SIZES = (1, 4, 8, 16)
_AMD = ("MI100", "MI210", "MI250", "MI250X", "MI300A", "MI300X", "MI325X", "MI350X", "MI355X")
_COUNTS: dict[DeviceClass, dict[str, range | tuple[int, ...]]] = {
    "GPU": {
        "A2": (1,),
        "A10": _UP_TO_8,
        "A10G": _UP_TO_8,
        "A100": _UP_TO_8,
        "A100_80G": _UP_TO_8,
        "B200": _UP_TO_8,
        "GB10": (1,),
        "H100": _UP_TO_8,
        "H200": _UP_TO_8,
        "L4": _UP_TO_8,
        "L40s": _UP_TO_8,
        "RTX_PRO_4500": (1,),
        "RTX_PRO_6000": (1, 2),
        "T4": _UP_TO_8,
        "V100": _UP_TO_8,
        **{kind + SHARED: (1,) for kind in ("A10", "A10G", "L4", "L40S", "T4")},
    },
    "NEURON": {
        "Inf1": range(1, 17),
        "Inf2": range(1, 13),
        **dict.fromkeys(("Trn1", "Trn1n", "Trn2", "Trn2u"), _NEURON_SIZES),
    },
    "AMD_GPU": dict.fromkeys(_AMD, (1,)),
    "HABANA_GAUDI": {"Gaudi1": (1,)},
    "APPLE_SILICON": {_APPLE: (1,)},
}
_FAMILY = {kind: family for family, kinds in _COUNTS.items() for kind in kinds}
_WORDS = {kind.lower(): kind for kind in _FAMILY}
_RENAMED = {"a100 80g": "A100_80G", "rtx pro 6000": "RTX_PRO_6000"}

PARTITIONS = {
    "A100": ("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),
    "A100_80G": ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H100": ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H200": ("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
    "RTX_PRO_6000": ("1g.24gb", "2g.48gb", "4g.96gb"),
}
"""The slices that a GPU can be cut into; the last one of each kind is all of it."""

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = (
    "2x2x1",
    "2x2x2",
    "2x4x4",
    "4x4x4",
    "4x4x8",
    "4x8x8",
    "8x8x8",
    "8x8x16",
    "8x16x16",
    "16x16x16",
    "16x16x24",
)
TOPOLOGIES = {"V5E": _FLAT, "V5P": _DEEP, "V6E": _FLAT}
"""Topologies of TPU slices: the arrangements of their chips, by kind of TPU."""


@dataclass(frozen=True)
class Device:
    """A number of accelerators.

    Args:
        quantity: How many.
        device_class: Their family.
        device: Their kind, such as ``"T4"``; None for any of the family.
        partition: The slice of each GPU, or the topology of a TPU slice; None for whole ones.

    Raises:
        ValueError: Fewer than one, an unknown family, or a slice or topology that the kind does not have.
    """

    quantity: int
    device_class: DeviceClass
    device: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.quantity, bool) or not isinstance(self.quantity, int) or self.quantity < 1:
            raise ValueError(
                f"The quantity of a device must be a whole number of 1 or more, got {self.quantity!r}."
            )
        if self.device_class not in get_args(DeviceClass):
            raise ValueError(
                f"There is no class {self.device_class!r} of devices. Known are: {', '.join(get_args(DeviceClass))}."
            )
        parts = {"GPU": PARTITIONS, "TPU": TOPOLOGIES}.get(self.device_class, {}).get(self.device or "")
        if self.partition is not None and parts is not None and self.partition not in parts:
            raise ValueError(
                f"{self.device_class} {self.device!r} has no partition {self.partition!r}. "
                f"It has: {', '.join(parts)}."
            )


def GPU(device: str, quantity: int, partition: str | None = None) -> Device:
    """GPUs by NVIDIA.

    Args:
        device: ``"T4"``, ``"A100"`` …, or ``"T4 shared"`` for a quarter of one.
        quantity: How many.
        partition: A slice such as ``"1g.5gb"`` of each; Ray counts it as the fraction of a GPU that it is.

    Raises:
        ValueError: An unknown kind, a slice that the kind does not have, or fewer than one.
    """
    kind = _known("GPU", modern(device, stacklevel=3) if isinstance(device, str) else device)
    if partition is not None and kind not in PARTITIONS:
        warnings.warn(
            f"GPU {kind!r} can't be split, so partition={partition!r} changes nothing.",
            UserWarning,
            stacklevel=2,
        )
    return Device(quantity, "GPU", kind, partition)


def TPU(device: str, partition: str | None = None) -> Device:
    """A TPU chip, or what one host has of a slice of them.

    Args:
        device: ``"V5E"``, ``"V5P"`` or ``"V6E"``.
        partition: The slice's topology such as ``"2x4"``; None for one chip of any.

    Raises:
        ValueError: An unknown kind, or a topology that the kind does not have.
    """
    if device not in TOPOLOGIES:
        raise ValueError(f"There is no TPU {device!r}. Known are: {', '.join(TOPOLOGIES)}.")
    return Device(1, "TPU", device, partition)


def Neuron(device: str) -> Device:
    """A chip by AWS, with all of its cores: ``"Trn1"``, ``"Inf2"`` … ValueError: an unknown kind."""
    return Device(1, "NEURON", _known("NEURON", device))


def AMD_GPU(device: str) -> Device:
    """A GPU by AMD: ``"MI300X"`` … ValueError: an unknown kind."""
    return Device(1, "AMD_GPU", _known("AMD_GPU", device))


def HABANA_GAUDI(device: str) -> Device:
    """A Gaudi by Intel: ``"Gaudi1"``. ValueError: an unknown kind."""
    return Device(1, "HABANA_GAUDI", _known("HABANA_GAUDI", device))


def APPLE_SILICON() -> Device:
    """The GPU of a Mac with a processor by Apple."""
    return Device(1, "APPLE_SILICON", _APPLE)


def parse(text: str) -> Device:
    """The device in ``"<kind>:<number>"``, such as ``"T4:1"``; ValueError where a node can't have it."""
    word, colon, count = text.partition(":")
    kind = _WORDS.get(word.strip().lower())
    if kind is None:
        raise ValueError(f"gpu {text!r} names an unknown kind. Known are: {', '.join(_FAMILY)}.")
    if kind == _APPLE and not colon:
        count = "1"
    elif not colon:
        raise ValueError(f'gpu {text!r} lacks a number: write for example "{text}:1".')
    family = _FAMILY[kind]
    allowed = _COUNTS[family][kind]
    if not count.isdecimal() or int(count) not in allowed:
        raise ValueError(
            f"gpu {text!r} can't be: of {kind} one may ask for {', '.join(map(str, allowed))}, got {count!r}."
        )
    return Device(int(count), family, kind)


def modern(text: str, stacklevel: int) -> str:
    """A kind, or ``"<kind>:<number>"``, in today's spelling; the old ones are warned of."""
    word, colon, count = text.partition(":")
    name = _RENAMED.get(word.strip().lower())
    if name is None:
        return text
    warnings.warn(f"The GPU {word!r} is called {name!r} now.", FutureWarning, stacklevel=stacklevel)
    return name + colon + count


def _known(family: DeviceClass, device: str) -> str:
    if device not in _COUNTS[family]:
        raise ValueError(f"There is no {family} {device!r}. Known are: {', '.join(_COUNTS[family])}.")
    return device
