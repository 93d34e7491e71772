"""What is asked about keys; the ingress knows of a change before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from flyteray._actors.controller import Keys as KeysDoor
from flyteray._control.registry.keys import Keys
from flyteray._plan.spec import KeyInfo


class KeyService(KeysDoor):
    """The keys of a cluster.

    Args:
        keys: Those that are kept.
        changed: Has the ingress let in those who have a key now, and nobody else.
    """

    def __init__(self, keys: Keys, changed: Callable[[], Awaitable[None]]) -> None:
        self._keys = keys
        self._changed = changed

    async def create(self, name: str, digest: str) -> KeyInfo:
        created = self._keys.create(name, digest)
        await self._changed()
        return created

    async def listall(self, limit: int | None) -> list[KeyInfo]:
        return self._keys.listall(limit)

    async def delete(self, name: str) -> None:
        self._keys.delete(name)
        await self._changed()
