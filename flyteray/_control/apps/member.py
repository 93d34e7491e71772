"""The ingress of one machine, as the controller knows it: asked, certified, brought to the state that is wanted."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from flyteray._ingress.differences import Difference
from flyteray._ingress.door import IngressDoor
from flyteray._ingress.routes import IngressState
from flyteray._ingress.tls.certificates import Authority
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.shadow import Compared

T = TypeVar("T")

_LISTEN_S = 30.0
_AGAIN_S = 1.0
_ANSWER_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A state that all are to have, by a name that no other one has; ``since`` are differences from those before."""

    name: str
    state: IngressState
    since: dict[str, Difference] = field(default_factory=dict)


@dataclass
class Member:
    """The ingress of one machine, which belongs to a Ray node there and ends with it.

    ``told`` is what it has, ``knows`` that it was told of some state, ``counts`` and ``figures`` what it said last of
    each backend, ``compared`` of each shadow, ``tls`` what it shows to clients, in words. One with a ``problem`` could
    not be started or told: nobody waits for it until it can.
    """

    address: str
    node: str
    door: IngressDoor
    port: int = 0
    peers_port: int = 0
    told: Wanted | None = None
    knows: bool = False
    problem: str | None = None
    tls: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    figures: dict[int, Figures] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def is_alone(self) -> bool:
        """Whether no other machine can reach it."""
        return ipaddress.ip_address(self.address).is_loopback

    def told_of(self, host: str, unreached: Sequence[str]) -> str:
        """How it is, in words: it listens on ``host``, and these other machines do not reach it."""
        if not self.port:
            return f"no ingress yet: {self.problem}" if self.problem else "its ingress is starting"
        if unreached:
            return f"does not answer {', '.join(unreached)}"
        words = f"{host} port {self.port}"
        if self.tls:
            words += f", by TLS {self.tls}"
        return f"{words}, not up to date: {self.problem}" if self.problem else words

    async def answer(self, question: Awaitable[T]) -> T | None:
        """Its answer to a question; None where it does not tell in time."""
        try:
            return await asyncio.wait_for(_awaited(question), _ANSWER_S)
        except Exception as error:  # noqa: BLE001  # whatever it is, this one does not tell
            logger.info("The ingress of %s does not tell: %r", self.address, error)
            return None

    async def has_requests(self, backends: list[int]) -> bool:
        """Whether requests or connections of these backends are open there; it may not tell, which raises."""
        told = await asyncio.wait_for(_awaited(self.door.sessions(backends)), _ANSWER_S)
        return any(told.values())

    def count(self, backend: int, counted: tuple[int, int]) -> int:
        """Note what it says of a backend; the requests since it said so last, which starts anew when it does."""
        before = self.counts.get(backend, (0, 0))[1]
        self.counts[backend] = counted
        return counted[1] - before if counted[1] >= before else counted[1]

    def since(self, backend: int, figures: Figures) -> Figures:
        """Note its figures of a backend; what has come since it told them last, which begin anew when it does."""
        before = self.figures.get(backend, Figures())
        self.figures[backend] = figures
        return figures.since(before)

    def compared_since(self, shadow: str, compared: Compared) -> Compared:
        """The same for what it says of the copies for a shadow."""
        before = self.compared.get(shadow, Compared())
        self.compared[shadow] = compared
        return compared.since(before)

    async def certify(self, authority: Authority) -> None:
        """Have it known to the others by a certificate, where it needs a new one."""
        if (wish := await self.door.wish(authority.certificate)) is not None:
            certificate = await asyncio.to_thread(authority.sign, wish)
            await self.door.join(certificate, authority.certificate)
        self.peers_port = await self.door.peers_port()

    async def bring(self, wanted: Wanted) -> None:
        """Have it go by what is wanted; what it has already isn't sent again."""
        if self.told is not None:
            known = self.told.name
            if known not in wanted.since:
                wanted.since[known] = Difference.between(self.told.state, wanted.state)
            if await self.door.amend(wanted.since[known], known, wanted.name):
                return
        await self.door.apply(wanted.state, wanted.name)

    async def listen(self, woken: Callable[[], None]) -> None:
        """Tell each time when a request begins to wait there, for as long as it is a member."""
        while True:
            try:
                if await self.door.need(_LISTEN_S):
                    woken()
            except Exception as error:  # noqa: BLE001  # it restarts, or its machine is about to be seen as gone
                logger.info("The ingress of %s does not tell who waits: %r", self.address, error)
                await asyncio.sleep(_AGAIN_S)


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer
