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

    HAProxy, which runs in ``directory``, knows by the end of its connection that a copy has ended, and so how many are
    open. A new one for it takes the place of an older one.
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
        # Whatever ends a copy is in HAProxy's line of it, or there is none and it has not been answered.
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.TimeoutError):
            await self._copy(await asyncio.wait_for(_handed_over(reader), _HANDED_OVER_S))
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


async def _handed_over(reader: asyncio.StreamReader) -> bytes:
    """What HAProxy has handed over: its length in a line, and the request as it is to be sent."""
    return await reader.readexactly(int(await reader.readline()))
