"""Ports of a node are shared by many replicas: each gets a free one, and servers that name their own are moved."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from flyteray._machine.ports import free_socket
from flyteray._serve.servers.patches import patch


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """Bind a TCP socket to ``host``, to a free port for 0; it takes connections once a server listens on it."""
    if port == 0:
        return free_socket(host)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def claimed_socket(host: str) -> tuple[socket.socket, socket.socket | None]:
    """Bind a socket to a port that no other replica of the node is given; the second socket claims that port.

    The port stays claimed until the claim is closed or this process ends, so the socket may be closed before a server
    that takes seconds to start listens there. Only Linux has such claims, and not everywhere; without them it is None.
    """
    while True:
        sock = listening_socket(host)
        if sys.platform != "linux":
            return sock, None
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0flyteray-port-{sock.getsockname()[1]}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:  # this node allows no such claims
                return sock, None
            sock.close()  # a server that starts just now is to listen there
        else:
            return sock, claim


@contextlib.contextmanager
def move_port(declared: int, host: str, assigned: int) -> Iterator[None]:
    """Let servers of this process that listen on port ``declared`` listen on ``host``:``assigned`` instead.

    Two replicas of an app may share a node, yet a script says ``port=8080``. A server on ``assigned`` itself is moved
    to ``host`` too, so that ``0.0.0.0`` in a script never opens a way around the ingress. Reached are Python sockets
    and the servers of asyncio and uvloop; not servers inside C libraries or child processes, which should ask
    ``env.get_port()``.
    """

    def is_ours(port: Any) -> bool:
        return port in (declared, assigned) and not isinstance(port, bool)

    bind = socket.socket.bind

    @functools.wraps(bind)
    def moved_bind(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and len(address) >= 2 and is_ours(address[1]):
            address = _address(self, host, assigned)
        bind(self, address)

    def moved_create_server(create_server: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create_server)
        def create(self: Any, factory: Any, address: Any = None, number: Any = None, **options: Any) -> Any:
            address = options.pop("host", address)
            number = options.pop("port", number)
            if is_ours(number):
                address, number = host, assigned
            return create_server(self, factory, address, number, **options)

        return create

    with contextlib.ExitStack() as undo:
        undo.enter_context(patch(socket.socket, "bind", moved_bind))
        for loop in (asyncio.BaseEventLoop, uvloop.Loop):
            undo.enter_context(patch(loop, "create_server", moved_create_server(loop.create_server)))
        yield


def _address(sock: socket.socket, host: str, port: int) -> tuple[Any, ...]:
    if sock.family != socket.AF_INET6 or ":" in host:
        return (host, port)
    # A server on "::" takes IPv4 as well, which is what the ingress speaks.
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return (f"::ffff:{host}", port)
