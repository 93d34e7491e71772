"""A port is declared by an app, and another one chosen for each replica."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from flyteray.app.environment import AppEnvironment

RESERVED_PORTS = (8012, 8022, 8112, 9090, 9091)
REPLICA_PORT = "FLYTERAY_REPLICA_PORT"


@dataclass(frozen=True)
class Port:
    """A port that an app listens on.

    Args:
        port: 1 to 65535, or 0 for any free one.
        name: What is spoken there: HTTP/1.1, but for ``"h2c"``, HTTP/2 without TLS, with which no app can be
            served yet.

    Raises:
        TypeError: The port is no int, or the name no str.
        ValueError: A reserved or impossible port.
    """

    port: int
    name: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.port, bool) or not isinstance(self.port, int):
            raise TypeError(f"A port must be an int, got {self.port!r}.")
        if self.port in RESERVED_PORTS:
            raise ValueError(
                f"Port {self.port} is reserved, choose another. Reserved are: {list(RESERVED_PORTS)}."
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f"A port must be from 1 to 65535, or 0 for any free one, got {self.port}.")
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"The name of port {self.port} must be a str, got {self.name!r}.")

    @classmethod
    def of(cls, value: int | Port) -> Port:
        """The port that ``port=`` means: a number or a port."""
        return value if isinstance(value, Port) else cls(value)


class PortField:
    """The ``port`` of an environment: set as an int or a :class:`Port`, read as a :class:`Port`.

    In a replica it reads as the port that this replica must listen on, because two replicas on one node can't
    share the declared one.
    """

    def __init__(self, default: int, name: str | None = None) -> None:
        self._default = Port(default, name)

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
