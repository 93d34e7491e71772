"""The hardware that an environment asks for."""

from __future__ import annotations

from dataclasses import dataclass

from flyteray._declare.quantity import cpus, size_bytes

# How many of a kind one node can have at most.
ACCELERATORS = {
    "A2": 1,
    "A10": 8,
    "A10G": 8,
    "A100": 8,
    "A100_80G": 8,
    "B200": 8,
    "GB10": 1,
    "H100": 8,
    "H200": 8,
    "L4": 8,
    "L40s": 8,
    "RTX_PRO_6000": 2,
    "T4": 8,
    "V100": 8,
    "MI100": 1,
    "MI210": 1,
    "MI250": 1,
    "MI250X": 1,
    "MI300A": 1,
    "MI300X": 1,
    "MI325X": 1,
    "MI350X": 1,
    "MI355X": 1,
}
_WORDS = {word.lower(): word for word in ACCELERATORS}


@dataclass(frozen=True)
class Device:
    """A number of accelerators, of a kind or of any (None)."""

    quantity: int
    device: str | None = None


@dataclass(frozen=True)
class Resources:
    """What one task, or one replica of an app, needs to itself. None leaves the default.

    Args:
        cpu: CPUs: ``2``, ``0.5``, ``"500m"``, or a pair (request, limit), of which Ray reserves the request.
        memory: Text such as ``"4Gi"``, or a pair (request, limit), of which Ray reserves the request.
        gpu: A number of GPUs of any kind, or ``"<kind>:<number>"`` such as ``"T4:1"``.
        disk: Text such as ``"20Gi"``. Checked, but Ray reserves no disk.
        shm: Text such as ``"1Gi"``, or ``"auto"``. Checked, but Ray reserves no shared memory for it.

    Raises:
        ValueError: A value that is none of these; it is named.
    """

    cpu: int | float | str | tuple[int | float | str, int | float | str] | None = None
    memory: str | tuple[str, str] | None = None
    gpu: int | str | None = None
    disk: str | None = None
    shm: str | None = None

    def __post_init__(self) -> None:
        self.cpu_request()
        self.memory_request()
        self.get_device()
        if self.disk is not None:
            size_bytes("disk", self.disk)
        if self.shm is not None and self.shm != "auto":
            size_bytes("shm", self.shm)

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
        if self.gpu is None:
            return None
        if isinstance(self.gpu, str):
            return _parse_device(self.gpu)
        if isinstance(self.gpu, bool) or not isinstance(self.gpu, int) or self.gpu < 0:
            raise ValueError(f'gpu must be a number, 0 or more, or text such as "T4:1", got {self.gpu!r}.')
        return Device(self.gpu) if self.gpu else None


def _parse_device(text: str) -> Device:
    kind, colon, count = text.partition(":")
    if not colon:
        raise ValueError(f'gpu {text!r} lacks a number: write for example "{text}:1".')
    word = _WORDS.get(kind.strip().lower())
    if word is None:
        raise ValueError(f"gpu {text!r} names an unknown kind. Known are: {', '.join(ACCELERATORS)}.")
    most = ACCELERATORS[word]
    if not count.isdecimal() or not 1 <= int(count) <= most:
        raise ValueError(f"gpu {text!r} must ask for 1 to {most} of {word}.")
    return Device(int(count), word)
