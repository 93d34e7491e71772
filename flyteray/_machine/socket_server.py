"""A server on a socket of this machine has an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_LIMIT = 64 << 10  # asyncio's own

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class SocketServer:
    """Serves each connection to a socket that listens, until it is closed; a connection that was served is closed.

    Args:
        listener: The socket, which it closes with itself.
        serve: Serves one connection, in the server's event loop.
        name: That of its thread.
        backlog: Connections that are not taken yet, at most.
        limit: Bytes that a reader looks through for the end of what it reads.

    Attributes:
        loop: The event loop.
    """

    def __init__(
        self, listener: socket.socket, serve: Serve, *, name: str, backlog: int, limit: int = _LIMIT
    ) -> None:
        listener.setblocking(False)
        self.loop = asyncio.new_event_loop()
        self._listener = listener
        self._serve = serve
        self._open: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._serving = asyncio.start_unix_server(
            self._connected, sock=listener, limit=limit, backlog=backlog
        )
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more; what is open ends. Doing it again is fine."""
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = self.loop.create_task(self._serve(reader, writer))
        self._open[serving] = writer
        serving.add_done_callback(self._served)

    def _served(self, serving: asyncio.Task[Any]) -> None:
        self._open.pop(serving).close()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        serving = self.loop.create_task(self._serving)
        try:
            self.loop.run_forever()
        finally:
            self._listener.close()
            # Who is on the other side of a connection would wait for as long as it is open.
            for writer in self._open.values():
                writer.transport.abort()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(serving, *tasks, return_exceptions=True))
            self.loop.close()
