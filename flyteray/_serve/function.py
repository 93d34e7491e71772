"""A user's own server function, wherever it thinks it listens."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import socketserver
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

from flyteray._serve import ports
from flyteray._serve.hosting import bind
from flyteray.errors import RuntimeUserError

_POLL_S = 0.02
_CANCEL_S = 2.0


class FunctionServer:
    """Runs ``function`` until it ends; it is ready when the replica's port takes connections.

    Args:
        function: Sync (gets a thread of its own) or async (runs on the app's loop).
        arguments: The app's parameters; the function gets those that it names.
        declared: The port in the app's declaration, which the function may have hard-coded.
        host: Where to listen.
        port: The port of this replica.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        declared: int,
        host: str,
        port: int,
    ) -> None:
        self._function = function
        self._arguments = bind(function, arguments)
        self._declared = declared
        self._host = host
        self._port = port
        self._running: asyncio.Future[Any] | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Call the function with its port moved to the replica's."""
        with ports.moved(self._declared, self._host, self._port):
            self._running = running = self._call()
            while not await asyncio.to_thread(ports.accepts, self._host, self._port):
                await asyncio.wait([running], timeout=_POLL_S)
                if running.done():
                    self._raise_early_end(running)
            ready()
            await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def stop(self, deadline_s: float) -> None:
        """Tell the servers that the function has started to finish; cancel it at the deadline."""
        running = self._running
        if running is None:
            return
        servers = _servers()
        for server in servers:
            _ask_to_end(server)
        await asyncio.wait([running], timeout=deadline_s)
        for server in servers:
            if isinstance(server, uvicorn.Server):
                server.force_exit = True
        await asyncio.wait([running], timeout=_CANCEL_S if servers else 0)
        running.cancel()

    def _call(self) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if inspect.iscoroutinefunction(self._function):
            return loop.create_task(_exit_as_error(self._function(**self._arguments)))
        return _in_thread(self._function, self._arguments)

    def _raise_early_end(self, running: asyncio.Future[Any]) -> None:
        running.result()
        raise RuntimeUserError(
            "ServerReturned",
            f"The server function {self._function.__name__!r} returned without listening on port "
            f"{self._declared}. It must serve on that port (or on env.get_port()) until the app is stopped.",
        )


async def _exit_as_error(serving: Awaitable[Any]) -> Any:
    try:
        return await serving
    except SystemExit as error:  # it would tear down the loop instead of ending the task
        raise _exited(error) from error


def _exited(error: SystemExit) -> RuntimeUserError:
    return RuntimeUserError("SystemExit", f"The server function exited with status {error.code}.")


def _in_thread(function: Callable[..., Any], arguments: Mapping[str, Any]) -> asyncio.Future[Any]:
    # A plain thread, not an executor's: those are joined when the process ends, and this one may never end.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    copied = contextvars.copy_context()

    def finish(error: BaseException | None, result: Any) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work() -> None:
        error: BaseException | None = None
        result = None
        try:
            result = copied.run(function, **arguments)
        except SystemExit as exit_:  # how uvicorn.run and many servers say that they could not start
            error = _exited(exit_)
            error.__cause__ = exit_
        except BaseException as failure:  # noqa: BLE001  # user code: whatever it raises is the app's failure
            error = failure
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, error, result)

    threading.Thread(target=work, name="flyteray-server", daemon=True).start()
    return future


def _servers() -> list[Any]:
    # uvicorn takes signals on the main thread only, which is Ray's, so nobody else can tell these to stop.
    # (By type(): isinstance() would wake lazy proxies that pretend to be something else.)
    return [
        each for each in gc.get_objects() if issubclass(type(each), (uvicorn.Server, socketserver.BaseServer))
    ]


def _ask_to_end(server: uvicorn.Server | socketserver.BaseServer) -> None:
    if isinstance(server, uvicorn.Server):
        server.should_exit = True
    else:
        # Blocks until its loop has noticed, and for ever if it never ran one.
        threading.Thread(target=server.shutdown, daemon=True).start()
