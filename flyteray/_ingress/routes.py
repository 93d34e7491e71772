"""What the ingress is to do: which app is served by which backend, and where the replicas of a backend listen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

POOL = 128
"""Backends that are there ahead, ``b0`` to ``b127``, so that a new app version needs no reload."""

SLOTS = 32
"""Replicas that a backend can hold, in slots from 1."""

_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_HOST = re.compile(r"[0-9A-Za-z.:-]+")


@dataclass(frozen=True)
class Slot:
    """Where a replica listens.

    Args:
        host: An IP address.
        port: A TCP port, 1 to 65535.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"A replica's host must be an IP address, not {self.host!r}.")
        if not 0 < self.port < 65536:
            raise ValueError(f"A replica's port must be between 1 and 65535, not {self.port}.")


@dataclass(frozen=True)
class IngressState:
    """Everything that the ingress routes by. Mappings must not change afterwards.

    Args:
        apps: The backend that serves an app by the app's name, or None for an app that exists but is stopped.
        backends: The replicas of a backend by slot. A backend that serves no app may be here while it drains:
            its open connections go on. A slot that is missing takes no requests.

    Raises:
        ValueError: a name, backend or slot that can't be routed to.
    """

    apps: Mapping[str, int | None] = field(default_factory=dict)
    backends: Mapping[int, Mapping[int, Slot]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, backend in self.apps.items():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} can't be an app's name: use lower-case letters, digits and single '-' or '_' between."
                )
            if backend is not None:
                _check_backend(backend)
        for backend, slots in self.backends.items():
            _check_backend(backend)
            for slot in slots:
                if not 1 <= slot <= SLOTS:
                    raise ValueError(f"Backend {backend} has no slot {slot}: slots are 1 to {SLOTS}.")

    def slots(self, backend: int) -> Mapping[int, Slot]:
        """The replicas of a backend; none for one that isn't used."""
        return self.backends.get(backend, {})

    def without_replicas(self) -> IngressState:
        """The same apps with nothing behind them: what is still true when the replicas are gone."""
        return IngressState(apps=self.apps)


def _check_backend(backend: int) -> None:
    if not 0 <= backend < POOL:
        raise ValueError(f"There is no backend {backend}: the ingress has {POOL}, from 0 to {POOL - 1}.")
