"""A port is declared by an app, and another one chosen for each replica."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from flyteray.app.environment import AppEnvironment

RESERVED_PORTS = (8012, 8022, 8112, 9090, 9091)
REPLICA_PORT = "FLYTERAY_REPLICA_PORT"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MEAN_H2C = ("grpc", "h2", "h2c", "http2")


@dataclass(frozen=True)
class Port:
    """A port that an app listens on.

    Args:
        port: 1 to 65535, or 0 for any free one.
        name: What is spoken there: HTTP/1.1, but for ``"h2c"``, HTTP/2 without TLS with prior knowledge and nothing
            else, as gRPC servers speak it. See :func:`grpc_address` for how such an app is called.

    Raises:
        TypeError: The port is no int, or the name no str.
        ValueError: A reserved or impossible port, or a name that means ``"h2c"`` and isn't it.
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
        if self.name not in (None, "h2c") and self.name.lower() in _MEAN_H2C:
            raise ValueError(
                f'The name of port {self.port} is {self.name!r}, which says nothing: "h2c" is the name for HTTP/2 '
                "without TLS, and so for gRPC."
            )

    @classmethod
    def of(cls, value: int | Port) -> Port:
        """The port that ``port=`` means: a number or a port."""
        return value if isinstance(value, Port) else cls(value)


class HasEndpoint(Protocol):
    """An app, as it is declared or as it was served."""

    @property
    def endpoint(self) -> str:
        """The URL of the app."""


def grpc_address(app: HasEndpoint | str) -> tuple[str, list[tuple[str, str | int]]]:
    """A gRPC channel to an app is made of these: ``grpc.insecure_channel(*grpc_address(app))``, or of ``grpc.aio``.

    Over TLS it is ``target, options = grpc_address("https://<host>")`` and
    ``grpc.secure_channel(target, credentials, options)``, with a host of the app's own (:class:`Domain`) that the
    certificate names; clients of gRPC take no ``*.localhost`` for that.

    An app is reached below a path of its own, and a channel has none: it names the app by its host, as the authority of
    its calls, whatever address it connects to. Any client of gRPC may do the same: connect to the address of
    ``app.endpoint`` and say ``<app>.localhost`` as the authority; on this machine, connect to
    ``<app>.localhost:<port>``. Where the app asks for a key, each call sends the metadata
    ``("authorization", "Bearer KEY")``. A channel is one connection: 100 of its calls are open at a time, and while one
    sends more than its app takes the others wait, so what sends much has a channel of its own. Not of Flyte.

    Args:
        app: The app as it is declared, the handle that :func:`flyteray.serve` returns, or its URL, as a parameter of
            type :class:`AppEndpoint` has it.

    Returns:
        ``host:port``, and the options of the channel.

    Raises:
        TypeError: No app and no URL.
        ValueError: A URL that names the app by a path and can't be reached so: over TLS the host must be one of the
            certificate's, and a proxy that leads by path has none to go by.
    """
    url = app if isinstance(app, str) else getattr(app, "endpoint", None)
    if not isinstance(url, str):
        raise TypeError(f"grpc_address takes an app or its URL, got {app!r}.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"grpc_address takes the URL of an app, such as http://127.0.0.1:8000/name, got {url!r}."
        )
    name = parts.path.strip("/")
    if name and (parts.scheme == "https" or "/" in name):
        raise ValueError(
            f"gRPC can't reach an app at {url}: a channel has no path. Give the app a host of its own, "
            "Domain(custom_domain=...), and use https://<that host>."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    options: list[tuple[str, str | int]] = []
    if name:
        options.append(("grpc.default_authority", f"{name}.localhost"))
    if parts.hostname in _LOOPBACK:
        options.append(("grpc.enable_http_proxy", 0))  # which would look for it on its own machine
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}", options


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
