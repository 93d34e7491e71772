"""The copier sends copies of requests to shadows, and throws their answers away."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from flyteray._ingress.copies.rules import COPIER_SOCKET, COPIES_SOCKET
from flyteray._ingress.haproxy.runtime import listen, socket_path
from flyteray._machine.socket_server import SocketServer

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
        self._server = SocketServer(
            listen(directory, COPIER_SOCKET, _BACKLOG), self._serve, name="flyteray-copier", backlog=_BACKLOG
        )

    def close(self) -> None:
        """Take no more; what is open ends. Doing it again is fine."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.TimeoutError):
            while size := await reader.readline():
                request = await asyncio.wait_for(reader.readexactly(int(size)), _HANDED_OVER_S)
                # Whatever ends a copy is in HAProxy's line of it, or there is none and it has not been answered.
                with contextlib.suppress(OSError):
                    await self._copy(request)
                writer.write(b"\n")
                await writer.drain()

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
