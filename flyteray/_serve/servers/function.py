"""A server function of the user's runs in the replica, its port moved to the replica's."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from flyteray._machine.health import AskHealth, ask_port
from flyteray._machine.threads import await_user_code, in_own_thread
from flyteray._serve.background_work import finish
from flyteray._serve.loop_watch import LoopThread
from flyteray._serve.servers import ports, sockets
from flyteray._serve.servers.grpc_ports import move_grpc_port
from flyteray._serve.servers.hosting import bind
from flyteray._serve.servers.sockets import Address
from flyteray._serve.servers.user_servers import UserServers, track_servers
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

_WHAT = "The server function"
_POLL_S = 0.02
_LOOK_S = 0.5  # between two looks at where it listens, which cost more than a probe
_END_S = 2.0  # for a server to end once it was told to, and again once its connections were dropped


@dataclass(eq=False, repr=False)
class FunctionServer:
    """Runs ``function`` until it ends; it is ready when what listens on the replica's port is well, as ``ask`` says.

    Where only the ingress connects to the port, a connection that is open is a request: the function is not ended
    before the last of them has been answered.
    """

    function: Callable[..., Any]  # sync (gets a thread of its own) or async (runs on the app's loop)
    arguments: Mapping[str, Any]  # the app's parameters; the function gets those that it names
    _: KW_ONLY
    declared: int  # the port in the app's declaration, which the function may have hard-coded
    host: str
    port: int
    behind_ingress: bool = False
    ask: AskHealth = ask_port
    speaks_grpc: bool = False

    def __post_init__(self) -> None:
        self._told = ""
        self.arguments = bind(self.function, self.arguments)
        self._assigned = Address(self.host, self.port)
        self._seen: set[Address] = set()
        self._is_up = False
        self._stopping = False
        self._running: asyncio.Future[Any] | None = None
        self._started = UserServers()

    @property
    def loop(self) -> LoopThread | None:
        """The loop of a uvicorn that the function has started on a thread of its own."""
        return self._started.loop

    async def run(self, ready: Callable[[], None]) -> None:
        """Call the function with its port moved to the replica's."""
        with self._moved(), track_servers(self._started):
            others = await asyncio.to_thread(sockets.find_addresses, os.getpid())
            if self._stopping:
                return
            self._running = running = self._call()
            look_at = time.monotonic() + _LOOK_S
            while not await asyncio.to_thread(self._is_well):
                await asyncio.wait([running], timeout=_POLL_S)
                if running.done():
                    if self._stopping:
                        return
                    self._raise_early_end(running)
                if time.monotonic() >= look_at:
                    self._look(await asyncio.to_thread(sockets.find_addresses, os.getpid()) - others)
                    look_at = time.monotonic() + _LOOK_S
            if self._stopping:
                return
            self._is_up = True
            ready()
            self._tell_of_strays(await asyncio.to_thread(sockets.find_addresses, os.getpid()))
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
        if self.behind_ingress and self._is_up and not started.has_uvicorn_at(self.port):
            await sockets.drain(self.port, deadline_s, running)
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
        """Open requests at the servers that the function has started, and their background work."""
        return self._started.going_on()

    def waits_for(self) -> str:
        """Say where a connection is expected, and where the function listens."""
        seen = self._told or (
            f"listens on {sockets.join_addresses(self._seen)}"
            if self._seen
            else "does not listen on any port"
        )
        here = "" if self.port == self.declared else f"here {self.port}, "
        expected = f"expected is port {self.declared} ({here}as env.get_port() says)"
        return f"the server function {self.function.__name__!r} {seen}; {expected}"

    @contextlib.contextmanager
    def _moved(self) -> Iterator[None]:
        where = self.declared, self.host, self.port
        with (
            ports.move_port(*where),
            move_grpc_port(*where) if self.speaks_grpc else contextlib.nullcontext(),
        ):
            yield

    def _is_well(self) -> bool:
        health = self.ask(self.host, self.port)
        self._told = health.seen or self._told
        return health.is_good

    def _look(self, found: set[Address]) -> None:
        """Take the declared port where a process that the function has started insists on it."""
        self._seen = found
        self.port = sockets.find_port(found, self.host, (self._assigned.port, self.declared)) or self.port

    def _tell_of_strays(self, found: set[Address]) -> None:
        """Warn of a C library or a process that listens elsewhere: nothing could move it."""
        if wrong := sockets.describe_strays(found, self._assigned, self.port):
            told = "The server function %r %s Let it listen on %s and on the port that env.get_port() gives."
            logger.warning(told, self.function.__name__, wrong, self.host)

    def _call(self) -> asyncio.Future[Any]:
        if inspect.iscoroutinefunction(self.function):
            return asyncio.create_task(await_user_code(_WHAT, self.function(**self.arguments)))
        return in_own_thread(_WHAT, self.function, **self.arguments)[0]

    def _raise_early_end(self, running: asyncio.Future[Any]) -> None:
        error = running.exception()
        if error is not None:
            raise self._started.lifespan_error() or error  # of a failed lifespan uvicorn tells a status only
        raise RuntimeUserError(
            "ServerReturned",
            f"The server function {self.function.__name__!r} returned without listening on port "
            f"{self.declared}. It must serve on that port (or on env.get_port()) until the app is stopped.",
        )
