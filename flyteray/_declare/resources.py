"""Resources are the hardware that a task or a replica needs to itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from flyteray._declare.device import Device, modern, parse
from flyteray._declare.quantity import cpus, size_bytes


@dataclass(frozen=True)
class Resources:
    """What one task, or one replica of an app, needs to itself. None leaves the default.

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
        if not isinstance(self.cpu, tuple):
            return None if self.cpu is None else cpus(self.cpu)
        if len(self.cpu) != 2:
            raise ValueError(f"cpu as a tuple must be (request, limit), got {self.cpu!r}.")
        request, limit = (cpus(amount) for amount in self.cpu)
        if request > limit:
            raise ValueError(f"cpu requests more than its limit: {self.cpu!r}.")
        return request

    def memory_request(self) -> int | None:
        """Bytes of memory to reserve."""
        if not isinstance(self.memory, tuple):
            return None if self.memory is None else size_bytes("memory", self.memory)
        if len(self.memory) != 2:
            raise ValueError(f"memory as a tuple must be (request, limit), got {self.memory!r}.")
        request, limit = (size_bytes("memory", amount) for amount in self.memory)
        if request > limit:
            raise ValueError(f"memory requests more than its limit: {self.memory!r}.")
        return request

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
