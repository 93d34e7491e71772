"""Servers that user code starts by itself in a replica are tracked, so that they can be told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socketserver
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from flyteray._serve.background_work import BackgroundWork
from flyteray._serve.loop_watch import LoopThread
from flyteray._serve.servers.forwarded import ForwardedHeaders
from flyteray._serve.servers.patches import patch
from flyteray._serve.servers.protocol import KeptConnections
from flyteray._serve.servers.root_paths import join_root_paths, with_root_path
from flyteray._serve.servers.traced import trace_requests


@dataclass
class UserServers:
    """Servers that run or ran: uvicorn's and the standard library's; ``loop`` is that of the first uvicorn."""

    loop: LoopThread | None = None
    uvicorns: list[uvicorn.Server] = field(default_factory=list)
    plain: list[socketserver.BaseServer] = field(default_factory=list)
    work: BackgroundWork = field(default_factory=BackgroundWork)

    def going_on(self) -> list[Any]:
        """Open requests at uvicorn's servers, and the background work of either kind."""
        going_on = self.work.going_on()
        for server in self.uvicorns:
            going_on += server.server_state.tasks  # at once: another thread's loop changes them
        return going_on

    def has_uvicorn_at(self, port: int) -> bool:
        """Whether a uvicorn listens on a port."""
        servers = [each for uvicorn_ in self.uvicorns for each in getattr(uvicorn_, "servers", ())]
        return any(sock.getsockname()[1] == port for each in servers for sock in each.sockets)

    def lifespan_error(self) -> BaseException | None:
        """The error of a lifespan, of which uvicorn keeps the text only."""
        apps = [getattr(server.config, "loaded_app", None) for server in self.uvicorns]
        errors = (app.lifespan_error for app in apps if isinstance(app, ForwardedHeaders))
        return next((error for error in errors if error is not None), None)


@contextlib.contextmanager
def track_servers(started: UserServers) -> Iterator[None]:
    """Note the servers that this process starts and their background work; give ASGI applications the client's address.

    uvicorn takes signals on the main thread only, which is Ray's, and the standard library's servers take none: without
    this nobody could end them gracefully.
    """
    serve = uvicorn.Server.serve
    serve_forever = socketserver.BaseServer.serve_forever
    finish_request = socketserver.BaseServer.finish_request

    @functools.wraps(serve)
    async def noted_serve(server: uvicorn.Server, *args: Any, **kwargs: Any) -> None:
        started.loop = started.loop or LoopThread.current()
        started.uvicorns.append(server)
        started.work.track_tasks(asyncio.get_running_loop())
        _forward(server.config, started.work)
        await serve(server, *args, **kwargs)

    @functools.wraps(serve_forever)
    def noted_serve_forever(server: socketserver.BaseServer, *args: Any, **kwargs: Any) -> None:
        started.plain.append(server)
        serve_forever(server, *args, **kwargs)

    @functools.wraps(finish_request)
    def noted_finish_request(server: socketserver.BaseServer, *args: Any, **kwargs: Any) -> None:
        with started.work.handling():
            finish_request(server, *args, **kwargs)

    with (
        started.work.track_process(),
        join_root_paths(),
        patch(uvicorn.Server, "serve", noted_serve),
        patch(socketserver.BaseServer, "serve_forever", noted_serve_forever),
        patch(socketserver.BaseServer, "finish_request", noted_finish_request),
    ):
        yield


def _forward(config: uvicorn.Config, work: BackgroundWork) -> None:
    if not config.loaded:
        config.load()  # as the server would do next: only then it is an application, in whatever form it was given
    if not isinstance(config.loaded_app, ForwardedHeaders):
        kept = KeptConnections(config.loaded_app)
        trace_requests(kept)
        app = with_root_path(work.track_requests(kept), config.root_path)
        config.loaded_app = ForwardedHeaders(app)
