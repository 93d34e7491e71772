"""Resources are the hardware that a task or a replica needs to itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flyteray._declare.device import Device, modern, parse
from flyteray._declare.quantity import cpus, size_bytes

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Resources:
    """The hardware that one task, or one replica of an app, needs to itself. None leaves the default.

    Hardware that no node has fails at once, and the error says what there is. On the local cluster more CPUs or memory
    than the machine has draws a warning, and what it has is given.

    Args:
        cpu: CPUs: ``2``, ``0.5``, ``"500m"``, or a pair (request, limit), of which Ray reserves the request. Libraries
            (OpenMP) start one thread for each.
        memory: Text such as ``"4Gi"``, or a pair (request, limit), of which Ray reserves the request.
        gpu: A number of GPUs of any kind, ``"<kind>:<number>"`` such as ``"T4:1"``, or a :class:`Device` for the rest.
        disk: Text such as ``"20Gi"``. Checked, but Ray reserves no disk: a warning says so.
        shm: Text such as ``"1Gi"``, or ``"auto"`` for what the node has. Ray reserves no shared memory either.

    Raises:
        ValueError: A value that is none of these; it is named.
    """

    cpu: int | float | str | tuple[int | float | str, int | float | str] | None = None
    memory: str | tuple[str, str] | None = None
    gpu: int | str | Device | None = None
    disk: str | None = None
    shm: str | None = None

    def __post_init__(self) -> None:
        self.cpu_request()
        self.memory_request()
        if isinstance(self.gpu, str):
            object.__setattr__(self, "gpu", modern(self.gpu, stacklevel=4))
        self.get_device()
        for what, amount in (("disk", self.disk), ("shm", None if self.shm == "auto" else self.shm)):
            if amount is not None:
                size_bytes(what, amount)
                warnings.warn(
                    f"Resources({what}={amount!r}): Ray reserves no {what}; nodes must have enough.",
                    UserWarning,
                    stacklevel=3,
                )

    def cpu_request(self) -> float | None:
        """CPUs to reserve."""
        return _request("cpu", self.cpu, cpus)

    def memory_request(self) -> int | None:
        """Bytes of memory to reserve."""
        return _request("memory", self.memory, lambda amount: size_bytes("memory", amount))

    def get_device(self) -> Device | None:
        """The accelerators to reserve; None for none."""
        if self.gpu is None or isinstance(self.gpu, Device):
            return self.gpu
        if isinstance(self.gpu, str):
            return parse(self.gpu)
        if isinstance(self.gpu, bool) or not isinstance(self.gpu, int) or self.gpu < 0:
            raise ValueError(
                f'gpu must be a number, 0 or more, text such as "T4:1", or a Device, got {self.gpu!r}.'
            )
        return Device(self.gpu, "GPU") if self.gpu else None

    def get_shared_memory(self) -> str | None:
        """The shared memory that was asked for; ``""`` for ``"auto"``."""
        return "" if self.shm == "auto" else self.shm


def _request(what: str, given: Any, read: Callable[[Any], N]) -> N | None:
    if not isinstance(given, tuple):
        return None if given is None else read(given)
    if len(given) != 2:
        raise ValueError(f"{what} as a tuple must be (request, limit), got {given!r}.")
    request, limit = read(given[0]), read(given[1])
    if request > limit:
        raise ValueError(f"{what} requests more than its limit: {given!r}.")
    return request
