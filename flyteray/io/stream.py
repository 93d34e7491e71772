"""An open file whose reading and writing is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import IO, Any


class AsyncStream:
    """The methods of a file, each run in a thread so that the event loop goes on."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    async def read(self, size: int = -1) -> Any:
        """Up to ``size`` bytes or characters; all by default."""
        return await asyncio.to_thread(self._file.read, size)

    async def readline(self) -> Any:
        """The next line, empty at the end."""
        return await asyncio.to_thread(self._file.readline)

    async def readlines(self) -> list[Any]:
        """All remaining lines."""
        return await asyncio.to_thread(self._file.readlines)

    async def write(self, data: Any) -> int:
        """Write bytes or text; returns how much."""
        return await asyncio.to_thread(self._file.write, data)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position; returns it."""
        return await asyncio.to_thread(self._file.seek, offset, whence)

    async def tell(self) -> int:
        """The position."""
        return await asyncio.to_thread(self._file.tell)

    async def flush(self) -> None:
        """Hand what was written to the operating system."""
        await asyncio.to_thread(self._file.flush)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while line := await self.readline():
            yield line
