"""gRPC servers that user code starts in a replica are moved to its port, as others are: their sockets are of C."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from flyteray._serve.servers.patches import patch


@contextlib.contextmanager
def move_grpc_port(declared: int, host: str, assigned: int) -> Iterator[None]:
    """Let gRPC servers that listen on port ``declared``, or ``assigned``, listen on ``host``:``assigned`` instead.

    The reasons are those of :func:`~flyteray._serve.servers.ports.move_port`. Two servers of gRPC can share a port, so
    without this two replicas would, and neither could stop without the other.
    """
    from grpc import _server  # takes 0.1 s, which no other app needs to pay
    from grpc.aio import _server as aio_server

    here = f"[{host}]:{assigned}" if ":" in host else f"{host}:{assigned}"

    def moved(add: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(add)
        def add_port(server: Any, address: str) -> int:
            port = address.rpartition(":")[2]
            return add(server, here if port.isdigit() and int(port) in (declared, assigned) else address)

        return add_port

    with contextlib.ExitStack() as undo:
        for kind in (_server._Server, aio_server.Server):
            undo.enter_context(patch(kind, "add_insecure_port", moved(kind.add_insecure_port)))
        yield
