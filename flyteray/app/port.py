"""The port that an app listens on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from flyteray.app.environment import AppEnvironment

RESERVED_PORTS = (8012, 8022, 8112, 9090, 9091)
REPLICA_PORT = "FLYTERAY_REPLICA_PORT"


@dataclass(frozen=True)
class Port:
    """A port that an app listens on.

    Args:
        port: 1 to 65535, or 0 for any free one.
        name: ``"http1"`` or None: both mean HTTP/1.1.

    Raises:
        TypeError: The port is no int.
        ValueError: A reserved or impossible port, or a protocol that is not supported.
    """

    port: int
    name: Literal["http1"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.port, bool) or not isinstance(self.port, int):
            raise TypeError(f"A port must be an int, got {self.port!r}.")
        if self.port in RESERVED_PORTS:
            raise ValueError(
                f"Port {self.port} is reserved, choose another. Reserved are: {list(RESERVED_PORTS)}."
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f"A port must be from 1 to 65535, or 0 for any free one, got {self.port}.")
        if self.name not in (None, "http1"):
            raise ValueError(
                f'Port {self.port}: {self.name!r} is not supported yet. Leave name=None or "http1".'
            )

    @classmethod
    def of(cls, value: int | Port) -> Port:
        """What ``port=`` accepts: a number or a port."""
        return value if isinstance(value, Port) else cls(value)


class PortField:
    """The ``port`` of an environment: set as an int or a :class:`Port`, read as a :class:`Port`.

    In a replica it reads as the port that this replica must listen on, because two replicas on one node can't
    share the declared one.
    """

    def __init__(self, default: int) -> None:
        self._default = Port(default)

    @overload
    def __get__(self, env: None, owner: type) -> Port: ...

    @overload
    def __get__(self, env: AppEnvironment, owner: type) -> Port: ...

    def __get__(self, env: AppEnvironment | None, owner: type) -> Port:
        if env is None:
            return self._default
        assigned = os.environ.get(REPLICA_PORT)
        return Port(int(assigned)) if assigned else env.declared_port

    def __set__(self, env: AppEnvironment, value: int | Port) -> None:
        env.declared_port = Port.of(value)
