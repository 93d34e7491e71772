"""The actor of the ingress, detached in Ray, does beside its loop what takes time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._ingress.differences import Difference
from flyteray._ingress.door import IngressDoor
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.own_pages import OwnPages
from flyteray._ingress.routes import IngressState
from flyteray._plan.traffic.access import Page, Place
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.load import Open
from flyteray._plan.traffic.shadow import Compared


class IngressActor(IngressDoor):
    """An :class:`Ingress` that is asked by others; made with what that takes."""

    def __init__(self, *arguments: Any) -> None:
        self._ingress = Ingress(*arguments)
        self._pages = OwnPages(Path(arguments[0]), {"/metrics": _metrics})

    async def port(self) -> int:
        return self._ingress.port()

    async def tls_port(self) -> int:
        return self._ingress.tls_port()

    async def tls(self) -> str:
        return self._ingress.offer.told() if self._ingress.offer is not None else ""

    async def found_at(self) -> str:
        return self._ingress.found_at()

    async def wish(self, authority: bytes) -> bytes | None:
        return await asyncio.to_thread(self._ingress.wish, authority)

    async def join(self, certificate: bytes, authority: bytes) -> None:
        await asyncio.to_thread(self._ingress.join, certificate, authority)

    async def peers_port(self) -> int:
        return await asyncio.to_thread(self._ingress.peers_port)

    async def apply(self, state: IngressState, name: str = "") -> None:
        await asyncio.to_thread(self._ingress.apply, state, name)

    async def amend(self, difference: Difference, of: str, name: str) -> bool:
        return await asyncio.to_thread(self._ingress.amend, difference, of, name)

    async def silent(self) -> list[str]:
        return self._ingress.silent()

    async def need(self, timeout_s: float) -> bool:
        return await self._ingress.need(timeout_s)

    async def sessions(self, backends: list[int]) -> dict[int, int]:
        return await asyncio.to_thread(self._ingress.sessions, backends)

    async def traffic(self, backends: list[int]) -> dict[int, tuple[int, int]]:
        return await asyncio.to_thread(self._ingress.traffic, backends)

    async def figures(self, backends: list[int]) -> dict[int, Figures]:
        return self._ingress.seen.figures(backends)

    async def compared(self, shadows: list[str]) -> dict[str, Compared]:
        return self._ingress.seen.compared(shadows)

    async def open(self, backends: list[int]) -> dict[int, Open]:
        return await asyncio.to_thread(self._ingress.open, backends)

    async def unseen(self) -> int:
        return await asyncio.to_thread(self._ingress.unseen)

    async def access(self, app: str, count: int, place: Place | None) -> Page | None:
        log = self._ingress.seen.log
        return await asyncio.to_thread(log.page, app, count, place) if log is not None else None

    async def stop(self) -> None:
        await asyncio.to_thread(self._ingress.stop)
        await asyncio.to_thread(self._pages.close)


def _metrics() -> bytes:
    return ask(controller().traffic.metrics())
