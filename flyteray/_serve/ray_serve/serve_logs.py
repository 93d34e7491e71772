"""What is logged in a replica, next to user code that configures logging: Serve's handlers and flyteray's own."""

from __future__ import annotations

import atexit
import logging
import logging.handlers

from flyteray._logging import configure


def protect() -> None:
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


def show_own() -> None:
    """Write what flyteray says in a replica to the replica's log, unless user code configures logging itself."""
    configure(default=logging.INFO)


def _unlist(handler: logging.Handler) -> None:
    listed: list[object] = logging._handlerList  # type: ignore[attr-defined]  # no public way to opt out
    listed[:] = [ref for ref in listed if not callable(ref) or ref() is not handler]
