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
    """Serves each connection to a socket that listens, until it is closed.

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
        self._serving = asyncio.start_unix_server(serve, sock=listener, limit=limit, backlog=backlog)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more; what is open ends. Doing it again is fine."""
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        serving = self.loop.create_task(self._serving)
        try:
            self.loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(serving, *tasks, return_exceptions=True))
            self._listener.close()
            self.loop.close()
