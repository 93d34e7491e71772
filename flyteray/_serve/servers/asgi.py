"""An ASGI application is served by uvicorn on a socket of the replica's."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import uvicorn

from flyteray._serve.background_work import BackgroundWork, finish
from flyteray._serve.servers.forwarded import ASGIApp, ForwardedHeaders, ProxyHeaders
from flyteray._serve.servers.protocol import HttpProtocol, KeptConnections, take_large_handshakes
from flyteray._serve.servers.root_paths import join_root_paths, with_root_path
from flyteray._serve.servers.traced import trace_requests
from flyteray.errors import RuntimeUserError

# Options that a user's uvicorn.Config may decide. The address, processes, TLS, logging, proxies and the server's end
# belong to the replica and to the ingress.
_HONOURED = (
    "http",
    "ws",
    "ws_max_size",
    "ws_max_queue",
    "ws_ping_interval",
    "ws_ping_timeout",
    "ws_per_message_deflate",
    "root_path",
    "limit_concurrency",
    "backlog",
    "headers",
    "server_header",
    "date_header",
    "h11_max_incomplete_event_size",
    "timeout_keep_alive",
    "lifespan",
)
# Decided here too, to the same end or as the documentation says, so that nobody misses them.
_DECIDED = {
    "access_log",
    "app",
    "forwarded_allow_ips",
    "host",
    "log_config",
    "log_level",
    "loop",
    "port",
    "proxy_headers",
    "use_colors",
    "workers",
}
_DEFAULTS: dict[str, Any] = {
    # The ingress keeps idle connections: were the server to close one first, a request could meet the close.
    "timeout_keep_alive": 300,
    "lifespan": "on",
    "http": HttpProtocol,
    "h11_max_incomplete_event_size": 256 << 10,  # where "h11" is chosen: as much as the ingress lets through
}
_CANCEL_S = 2  # for handlers to end after they were cancelled at the deadline


class AsgiServer:
    """Serves ``app`` on ``sock``, which must be bound and becomes the server's own.

    ``proxies`` are the networks of trusted proxies where no ingress is in front; None where one is.
    """

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        user_config: uvicorn.Config | None = None,
        proxies: Sequence[str] | None = None,
    ) -> None:
        self._work = BackgroundWork()
        root_path = user_config.root_path if user_config is not None else ""
        self._kept = KeptConnections(app)
        tracked = self._work.track_requests(self._kept)
        self._forwarded = ForwardedHeaders(with_root_path(tracked, root_path))
        outermost = self._forwarded if proxies is None else ProxyHeaders(self._forwarded, proxies)
        self._socket = sock
        self.port: int = sock.getsockname()[1]
        self._uvicorn = _Uvicorn(_config(outermost, user_config))

    loop = None  # the one that runs it

    async def run(self, ready: Callable[[], None]) -> None:
        """Run the lifespan's start-up, serve, and run its shutdown."""

        def started() -> None:
            trace_requests(self._kept)  # all that may set up traces has run
            ready()

        self._uvicorn.on_started = started
        self._work.track_tasks(asyncio.get_running_loop())
        try:
            with self._work.track_process(), join_root_paths():
                await self._uvicorn.serve(sockets=[self._socket])
        except SystemExit:  # uvicorn's way to say that the lifespan failed
            raise self._forwarded.lifespan_error or RuntimeUserError(
                "LifespanFailed", "The application's lifespan reported a failed start-up and gave no reason."
            ) from None
        finally:
            self._socket.close()

    def waits_for(self) -> str:
        """Name its lifespan: there is nothing else to wait for."""
        return "the start-up of the application's lifespan has not ended"

    async def stop(self, deadline_s: float) -> None:
        """Serve on while requests, WebSockets or their background work go on, to the deadline.

        Then WebSockets are closed (1012) and it ends.
        """
        await finish(self.going_on, deadline_s)
        self._uvicorn.should_exit = True

    def going_on(self) -> list[Any]:
        """Open requests and WebSockets, and their background work."""
        return [*self._uvicorn.server_state.tasks, *self._work.going_on()]


class _Uvicorn(uvicorn.Server):
    on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are Ray's


def without_effect(user: uvicorn.Config) -> list[str]:
    """List the options of a user's configuration that change nothing here, though the user may think so."""
    names = inspect.signature(uvicorn.Config).parameters.keys() - _DECIDED - set(_HONOURED)
    return sorted(_chosen(user, names))


def _chosen(user: uvicorn.Config, names: Iterable[str]) -> dict[str, Any]:
    """The options that differ from uvicorn's defaults."""
    standard = uvicorn.Config(user.app, log_config=None)
    values = {name: getattr(user, name, None) for name in names}
    return {name: value for name, value in values.items() if value != getattr(standard, name, None)}


def _config(app: ASGIApp, user: uvicorn.Config | None) -> uvicorn.Config:
    options = _DEFAULTS | (_chosen(user, _HONOURED) if user is not None else {})
    if options["http"] in ("auto", "httptools"):
        options["http"] = HttpProtocol
    take_large_handshakes(options.get("ws"))
    return uvicorn.Config(
        app,
        interface="asgi3",
        loop="none",
        log_config=None,  # uvicorn's own would close Serve's log handlers
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_CANCEL_S,
        **options,
    )
