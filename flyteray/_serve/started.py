"""The servers that user code starts by itself in a replica: noted, so that somebody can tell them to stop."""

from __future__ import annotations

import contextlib
import functools
import inspect
import socketserver
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from flyteray._serve.forwarded import Forwarded
from flyteray._serve.replaced import replaced


@dataclass
class Started:
    """Servers that run or ran: uvicorn's and the standard library's."""

    uvicorns: list[uvicorn.Server] = field(default_factory=list)
    plain: list[socketserver.BaseServer] = field(default_factory=list)

    def lifespan_error(self) -> BaseException | None:
        """What a lifespan has raised, of which uvicorn keeps the text only."""
        apps = [server.config.app for server in self.uvicorns]
        errors = (app.lifespan_error for app in apps if isinstance(app, Forwarded))
        return next((error for error in errors if error is not None), None)


@contextlib.contextmanager
def watched(started: Started) -> Iterator[None]:
    """Note the servers that this process starts, and let ASGI applications know what the ingress says of requests.

    uvicorn takes signals on the main thread only, which is Ray's, and the standard library's servers take none: without
    this nobody could end them gracefully.
    """

    def note_uvicorn(server: uvicorn.Server) -> None:
        started.uvicorns.append(server)
        _forward(server.config)

    with (
        replaced(uvicorn.Server, "serve", _noting(uvicorn.Server.serve, note_uvicorn)),
        replaced(
            socketserver.BaseServer,
            "serve_forever",
            _noting(socketserver.BaseServer.serve_forever, started.plain.append),
        ),
    ):
        yield


def _noting(serve: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
    @functools.wraps(serve)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        note(self)
        return serve(self, *args, **kwargs)

    return noted


def _forward(config: uvicorn.Config) -> None:
    app = config.app
    is_asgi3 = inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004
    if is_asgi3 and not config.loaded and not config.factory and config.interface in ("auto", "asgi3"):
        config.app = Forwarded(app)  # type: ignore[arg-type]
        config.interface = "asgi3"
