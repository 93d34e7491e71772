"""A replica's process, as Serve makes it, is set right: its namespace, its open port, its log handlers."""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import sys

from ray.serve._private import replica

from flyteray._actors.calls import SERVE_NAMESPACE
from flyteray._logging import configure


def use_own_serve() -> None:
    """Let all of Ray Serve in this process be flyteray's: its controller, and the handles of its deployments."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ray.serve.") and "SERVE_NAMESPACE" in vars(module):
            module.SERVE_NAMESPACE = SERVE_NAMESPACE  # type: ignore[attr-defined]


def confine() -> None:
    """Let Serve's own port of this replica listen on loopback alone.

    Serve opens one for calls between deployments, on all interfaces and with no setting for it, after the user's
    constructor has returned; flyteray's apps never use it.
    """
    add = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add(
        server, address.replace("[::]", "127.0.0.1")
    )


def protect_log_handlers() -> None:
    """Keep ``logging.config.dictConfig``, which user code may call, from closing the handlers of Serve.

    dictConfig closes every handler that the logging module has on its list. A Serve replica whose handler is
    closed works on, but a restarted Serve controller fails to ask it for its log file and then stops it.
    """
    for handler in logging.getLogger("ray.serve").handlers:
        _unlist(handler)
        if isinstance(handler, logging.handlers.MemoryHandler):
            if handler.target is not None:
                _unlist(handler.target)
            atexit.register(handler.flush)


def log_own_messages() -> None:
    """Write flyteray's messages in a replica to the replica's log, unless user code configures logging itself."""
    configure(default=logging.INFO)


def _unlist(handler: logging.Handler) -> None:
    listed: list[object] = logging._handlerList  # type: ignore[attr-defined]  # no public way to opt out
    listed[:] = [ref for ref in listed if not callable(ref) or ref() is not handler]
