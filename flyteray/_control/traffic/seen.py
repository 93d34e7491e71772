"""What the ingresses of all machines have seen of requests is asked for and put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from flyteray._control.apps.ingresses import Ingresses
from flyteray._plan.traffic.access import Page, Place
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.load import Open
from flyteray._plan.traffic.shadow import Compared


class SeenTraffic:
    """The requests to apps, as all ingresses have seen them."""

    def __init__(self, ingresses: Ingresses) -> None:
        self._ingresses = ingresses
        self._figures: dict[int, Figures] = {}
        self._compared: dict[str, Compared] = {}
        self._figuring = asyncio.Lock()

    async def figures(self, backends: Sequence[int]) -> dict[int, Figures]:
        """How the requests of each backend went that have ended, at all ingresses, since these were started.

        Of an ingress that does not tell, or is not there any more, what it said before counts on.
        """
        async with self._figuring:  # so that nobody takes an answer that was overtaken for a new beginning
            for member, told in await self._ingresses.ask(lambda member: member.door.figures(list(backends))):
                for backend, figures in (told or {}).items():
                    since = member.since(backend, figures)
                    if since.requests:
                        self._figures[backend] = self._figures.get(backend, Figures()) + since
            return {backend: self._figures.get(backend, Figures()) for backend in backends}

    async def compared(self, shadows: Sequence[str]) -> dict[str, Compared]:
        """The same for what came of requests that were to be copied for each shadow."""
        async with self._figuring:
            for member, told in await self._ingresses.ask(lambda member: member.door.compared(list(shadows))):
                for shadow, compared in (told or {}).items():
                    since = member.compared_since(shadow, compared)
                    self._compared[shadow] = self._compared.get(shadow, Compared()) + since
            return {shadow: self._compared.get(shadow, Compared()) for shadow in shadows}

    async def open(self, backends: Sequence[int]) -> dict[int, Open]:
        """The requests and connections of each backend that are open now, at all ingresses that tell."""
        asked = await self._ingresses.ask(lambda member: member.door.open(list(backends)))
        answers = [told for _, told in asked if told]
        return {backend: sum((told[backend] for told in answers), Open()) for backend in backends}

    async def unseen(self) -> dict[str, int | None]:
        """How many requests could not be counted, by the address of each machine; None where it does not tell."""
        there: dict[str, int | None] = dict.fromkeys(self._ingresses.machines())
        asked = await self._ingresses.ask(lambda member: member.door.unseen())
        return there | {member.address: told for member, told in asked}

    async def access(self, app: str, count: int, places: Mapping[str, Place]) -> dict[str, Page]:
        """A page of the access log of each machine that tells, by address, from the places on that they told before."""
        asked = await self._ingresses.ask(
            lambda member: member.door.access(app, count, places.get(member.address))
        )
        return {member.address: page for member, page in asked if page is not None}
