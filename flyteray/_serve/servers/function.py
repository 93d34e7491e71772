"""A user's own server function, wherever it thinks it listens."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flyteray._serve.background_work import finish
from flyteray._serve.loop_watch import LoopThread
from flyteray._serve.servers import ports
from flyteray._serve.servers.connections import drained
from flyteray._serve.servers.hosting import bind
from flyteray._serve.servers.listening import Address, addresses, first_taken, listed, strays
from flyteray._serve.servers.user_servers import Started, watched
from flyteray._serve.threads import exit_as_error, in_own_thread
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

_WHAT = "The server function"
_POLL_S = 0.02
_LOOK_S = 0.5  # between two looks at where it listens, which cost more than a probe
_END_S = 2.0  # for a server to end once it was told to, and again once its connections were dropped


class FunctionServer:
    """Runs ``function`` until it ends; it is ready when the replica's port takes connections.

    Args:
        function: Sync (gets a thread of its own) or async (runs on the app's loop).
        arguments: The app's parameters; the function gets those that it names.
        declared: The port in the app's declaration, which the function may have hard-coded.
        host: Where to listen.
        port: The port of this replica.
        behind_ingress: Whether nobody but an ingress connects to the port: then a connection that is open is a request,
            and the function is not ended before the last of them has been answered.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        declared: int,
        host: str,
        port: int,
        behind_ingress: bool = False,
    ) -> None:
        self._function = function
        self._arguments = bind(function, arguments)
        self._declared = declared
        self._host = host
        self._assigned = Address(host, port)
        self.port = port
        self._seen: set[Address] = set()
        self._behind_ingress = behind_ingress
        self._is_up = False
        self._stopping = False
        self._running: asyncio.Future[Any] | None = None
        self._started = Started()

    @property
    def loop(self) -> LoopThread | None:
        """That of a uvicorn which the function has started on a thread of its own."""
        return self._started.loop

    async def run(self, ready: Callable[[], None]) -> None:
        """Call the function with its port moved to the replica's."""
        with ports.moved(self._declared, self._host, self.port), watched(self._started):
            others = await asyncio.to_thread(addresses, os.getpid())
            if self._stopping:
                return
            self._running = running = self._call()
            look_at = time.monotonic() + _LOOK_S
            while not await asyncio.to_thread(ports.accepts, self._host, self.port):
                await asyncio.wait([running], timeout=_POLL_S)
                if running.done():
                    if self._stopping:
                        return
                    self._raise_early_end(running)
                if time.monotonic() >= look_at:
                    self._look(await asyncio.to_thread(addresses, os.getpid()) - others)
                    look_at = time.monotonic() + _LOOK_S
            if self._stopping:
                return
            self._is_up = True
            ready()
            self._tell_of_strays(await asyncio.to_thread(addresses, os.getpid()))
            await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def stop(self, deadline_s: float) -> None:
        """End the servers that the function has started, as :class:`AsgiServer` does; then cancel it.

        Behind an ingress a server of another kind is ended once no request is open.
        """
        self._stopping = True
        running = self._running
        if running is None:
            return
        started = self._started
        deadline = time.monotonic() + deadline_s
        if self._behind_ingress and self._is_up and not started.has_uvicorn_at(self.port):
            await drained(self.port, deadline_s, running)
        await finish(self.going_on, deadline - time.monotonic())
        for plain in started.plain:
            # Blocks until the server's loop has noticed, and for ever if that has ended.
            threading.Thread(target=plain.shutdown, daemon=True).start()
        for server in started.uvicorns:
            server.should_exit = True
        await asyncio.wait([running], timeout=_END_S if started.uvicorns or started.plain else 0)
        for server in started.uvicorns:
            server.force_exit = True
        await asyncio.wait([running], timeout=_END_S if started.uvicorns else 0)
        running.cancel()

    def going_on(self) -> list[Any]:
        """What is open at the servers that the function has started, and what their handlers have left running."""
        return self._started.going_on()

    def waits_for(self) -> str:
        """A connection: where, and what there is instead."""
        seen = f"listens on {listed(self._seen)}" if self._seen else "does not listen on any port"
        here = "" if self.port == self._declared else f"here {self.port}, "
        expected = f"expected is port {self._declared} ({here}as env.get_port() says)"
        return f"the server function {self._function.__name__!r} {seen}; {expected}"

    def _look(self, found: set[Address]) -> None:
        """A process that the function has started may insist on the declared port: then that is taken."""
        self._seen = found
        self.port = first_taken(found, self._host, (self._assigned.port, self._declared)) or self.port

    def _tell_of_strays(self, found: set[Address]) -> None:
        """Where a C library or a process that the function has started listens, nobody could move it."""
        if wrong := strays(found, self._assigned, self.port):
            logger.warning(
                "The server function %r %s Let it listen on %s and on the port that env.get_port() gives.",
                self._function.__name__,
                wrong,
                self._host,
            )

    def _call(self) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if inspect.iscoroutinefunction(self._function):
            return loop.create_task(exit_as_error(_WHAT, self._function(**self._arguments)))
        return in_own_thread(_WHAT, self._function, **self._arguments)[0]

    def _raise_early_end(self, running: asyncio.Future[Any]) -> None:
        error = running.exception()
        if error is not None:
            raise self._started.lifespan_error() or error  # of a failed lifespan uvicorn tells a status only
        raise RuntimeUserError(
            "ServerReturned",
            f"The server function {self._function.__name__!r} returned without listening on port "
            f"{self._declared}. It must serve on that port (or on env.get_port()) until the app is stopped.",
        )
