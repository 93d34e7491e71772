"""The copier sends copies of requests to shadows, and throws their answers away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

from flyteray._ingress.copies.rules import COPIER_SOCKET, COPIES_SOCKET
from flyteray._ingress.haproxy.runtime import listen, socket_path

_BACKLOG = 256  # HAProxy hands over no more at a time than it allows to be open
_HANDED_OVER_S = 10.0  # for what HAProxy has in its memory
_PIECE = 64 << 10  # bytes of an answer


class Copier:
    """Takes what HAProxy hands over, in a thread of its own, and asks HAProxy for it as a client would.

    HAProxy, which runs in ``directory``, hands over one copy after the other on each of its connections. It is told
    when one has ended, and so knows how many are open. A new copier for it takes the place of an older one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = listen(directory, COPIER_SOCKET, _BACKLOG)
        self._socket.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="flyteray-copier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more; what is open ends. Doing it again is fine."""
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_task(
            asyncio.start_unix_server(self._serve, sock=self._socket, backlog=_BACKLOG)
        )
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(serving, *tasks, return_exceptions=True))
            self._socket.close()
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.TimeoutError):
            while size := await reader.readline():
                request = await asyncio.wait_for(reader.readexactly(int(size)), _HANDED_OVER_S)
                # Whatever ends a copy is in HAProxy's line of it, or there is none and it has not been answered.
                with contextlib.suppress(OSError):
                    await self._copy(request)
                writer.write(b"\n")
                await writer.drain()
        writer.close()

    async def _copy(self, request: bytes) -> None:
        with socket_path(self._directory, COPIES_SOCKET) as path:
            answer, shadow = await asyncio.open_unix_connection(path)
        try:
            shadow.write(request)
            await shadow.drain()
            while await answer.read(_PIECE):
                pass
        finally:
            shadow.close()
