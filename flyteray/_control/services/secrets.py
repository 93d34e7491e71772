"""What is asked about secrets."""

from __future__ import annotations

from collections.abc import Sequence

from flyteray._actors.controller import Secrets as SecretsDoor
from flyteray._control.registry.secrets import Secrets
from flyteray._plan.info import SecretInfo


class SecretService(SecretsDoor):
    """The secrets of a cluster."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def create(self, name: str, value: bytes) -> SecretInfo:
        return self._secrets.create(name, value)

    async def uncreated(self, names: list[str]) -> list[str]:
        return self._secrets.uncreated(names)

    async def take(self, values: dict[str, bytes]) -> list[str]:
        return self._secrets.take(values)

    async def get(self, name: str) -> SecretInfo:
        return self._secrets.get(name)

    async def listall(self, limit: int | None) -> list[SecretInfo]:
        return self._secrets.listall(limit)

    async def delete(self, name: str) -> None:
        self._secrets.delete(name)

    async def values(self, names: Sequence[str]) -> dict[str, bytes]:
        return self._secrets.get_values(names)
