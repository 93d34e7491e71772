"""The bundles of code in a cluster's storage: read and written in threads, for the storage may be far away."""

from __future__ import annotations

import asyncio

from flyteray._actors.controller import Code
from flyteray.storage import Storage


class Bundles(Code):
    """The bundles that clients upload and workers load."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def has(self, digest: str) -> bool:
        return await asyncio.to_thread(self._storage.exists, _key(digest))

    async def put(self, digest: str, data: bytes) -> None:
        await asyncio.to_thread(self._storage.put, _key(digest), data)

    async def get(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._storage.get, _key(digest))


def _key(digest: str) -> str:
    return f"bundles/{digest}.zip"
