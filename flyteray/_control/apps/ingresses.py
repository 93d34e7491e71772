"""The ingresses of a cluster, one on each machine: started, known to each other, told of changes, counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar
from uuid import uuid4

from flyteray._cluster import nodes
from flyteray._control.actors import IngressOptions, end_ingress, start_ingress
from flyteray._control.apps.member import Member, Wanted
from flyteray._control.apps.unused import UnusedMachines
from flyteray._ingress.differences import Difference
from flyteray._ingress.door import INGRESS, IngressDoor, ingress_at
from flyteray._ingress.routes import IngressState
from flyteray._ingress.tls.certificates import Authority

T = TypeVar("T")

_LOOK_S = 1.0
_COMING_S = 15.0  # for the ingress of a machine where somebody has just begun
_AGAIN_S = 1.0
_TOLD_S = 2.0  # for all to know a change before who made it goes on; one that does not answer is told when it can be
_APPLY_S = 15.0
_RENEW_S = 3600.0  # from one look at a certificate to the next

logger = logging.getLogger(__name__)


class Ingresses:
    """The ingresses of all machines of the cluster.

    On a cluster that grows a machine has none while nothing runs there, so that the autoscaler may take it away: Ray
    counts a node as busy for as long as any actor is on it.

    ``authority`` gives that of the cluster; ``woken`` is called when a request begins to wait for a replica at one.
    """

    def __init__(
        self, options: IngressOptions, authority: Callable[[], Authority], woken: Callable[[], None]
    ) -> None:
        self._options = options
        self._authority = authority
        self._woken = woken
        self._members: dict[str, Member] = {}
        self._state: IngressState | None = None
        self._wanted: Wanted | None = None
        self._names = (f"{uuid4()}-{number}" for number in itertools.count())
        self._ever: dict[int, int] = {}
        self._news = asyncio.Condition()
        self._unused = UnusedMachines()
        self.unreached: dict[str, list[str]] = {}  # by machine, those whose ingress it does not answer
        self._found = asyncio.Event()  # the machines that there are have been looked at
        self._certifying = asyncio.Lock()
        self._known_authority: Authority | None = None

    def port(self, address: str) -> int | None:
        """The port of the ingress on the machine of this address; None where none serves yet."""
        member = self._members.get(address)
        return member.port or None if member else None

    def problem(self, address: str) -> str | None:
        """Why the machine of this address has no ingress; None where it has one, or will soon."""
        member = self._members.get(address)
        return member.problem if member and not member.port else None

    def machines(self) -> dict[str, str]:
        """How the ingress of each machine is, in words."""
        return {
            address: member.told_of(self._options.listens(address), self.unreached.get(address, ()))
            for address, member in sorted(self._members.items())
        }

    def tls(self, address: str) -> str:
        """What the ingress of the machine of this address shows to clients that come by TLS, in words."""
        member = self._members.get(address)
        return member.tls if member else ""

    async def run(self) -> None:
        """Have an ingress on every machine, for as long as the controller lives."""
        while True:
            try:
                living = await asyncio.to_thread(nodes.addresses)
                self._unused.see(await asyncio.to_thread(nodes.unused, INGRESS), time.monotonic())
                await self._leave_unused()
                await self._follow(living)
                self._found.set()
                await self._look_for_silence()
                await self._look_at_certificates()
            except Exception:
                logger.exception("Looking for machines without an ingress failed; it is tried again")
            await asyncio.sleep(_LOOK_S)

    async def coming(self, address: str) -> None:
        """Wait for the ingress of a machine where somebody runs now; where it can't start they have the head's."""
        self._unused.look_for(address, time.monotonic())
        with contextlib.suppress(asyncio.TimeoutError):
            async with self._news:
                await asyncio.wait_for(self._news.wait_for(lambda: self._is_settled(address)), _COMING_S)

    def _is_settled(self, address: str) -> bool:
        member = self._members.get(address)
        return member is not None and (member.told is not None or member.problem is not None)

    async def apply(self, state: IngressState) -> None:
        """Have all ingresses go by a state; returns when those that answer do, at the latest after seconds."""
        await self._found.wait()
        self._state = state
        self._want()

        def all_know() -> bool:
            return all(member.problem or member.told is self._wanted for member in self._members.values())

        with contextlib.suppress(asyncio.TimeoutError):
            async with self._news:
                await asyncio.wait_for(self._news.wait_for(all_know), _TOLD_S)

    async def sessions(self, backends: Sequence[int]) -> dict[int, int]:
        """The open requests and connections of each backend, at all ingresses; none where one does not tell."""
        answers = await self._ask(lambda door: door.sessions(list(backends)))
        if any(answer is None for answer in answers.values()):
            return {}
        return {backend: sum(told[backend] for told in answers.values() if told) for backend in backends}

    async def traffic(self, backends: Sequence[int]) -> dict[int, tuple[int, int]]:
        """The open or waiting requests and connections of each backend, and those so far, at all ingresses.

        Of one that does not tell, what it said before counts on.
        """
        for address, told in (await self._ask(lambda door: door.traffic(list(backends)))).items():
            if told and (member := self._members.get(address)):
                for backend, counted in told.items():
                    self._ever[backend] = self._ever.get(backend, 0) + member.count(backend, counted)
        return {
            backend: (
                sum(member.counts.get(backend, (0, 0))[0] for member in self._members.values()),
                self._ever.get(backend, 0),
            )
            for backend in backends
        }

    def _want(self) -> None:
        """Have all told of what is wanted now: what requests are led by, and where the ingresses reach each other."""
        if self._state is None:
            return
        # One that knows no replica yet would refuse what others send it.
        known = [member for member in self._members.values() if member.knows and member.peers_port]
        peers = {member.address: member.peers_port for member in known}
        state = self._state.but(peers=peers)
        if self._wanted is None or Difference.between(self._wanted.state, state):
            self._wanted = Wanted(next(self._names), state)
        for member in self._members.values():
            member.changed.set()

    async def ask(self, question: Callable[[Member], Awaitable[T]]) -> list[tuple[Member, T | None]]:
        """The answer of each ingress that serves; None where one does not tell in time."""
        members = [member for member in self._members.values() if member.port]
        answers = await asyncio.gather(*(member.answer(question(member)) for member in members))
        return list(zip(members, answers, strict=True))

    async def _ask(self, question: Callable[[IngressDoor], Awaitable[T]]) -> dict[str, T | None]:
        return {member.address: told for member, told in await self.ask(lambda member: question(member.door))}

    async def _leave_unused(self) -> None:
        for address in self._unused.for_long(time.monotonic()):
            member = self._members.get(address)
            if member is None or not member.port:
                continue
            try:
                if await member.has_requests(list(self._state.backends) if self._state else []):
                    continue
                logger.info("Nothing runs on the machine %s: its ingress leaves it", address)
                await asyncio.to_thread(end_ingress, address)
            except Exception as error:  # noqa: BLE001  # it is tried again
                logger.warning("The ingress of %s does not leave yet: %r", address, error)
            else:
                await self._forget([member])

    async def _follow(self, living: dict[str, str]) -> None:
        """Go by the Ray nodes that live, with their addresses: one of each machine is to have an ingress.

        A machine where nothing runs has one until it has left, and gets none.
        """
        gone = [member for member in self._members.values() if member.node not in living]
        for member in gone:
            logger.info("The ingress of %s has ended with its node", member.address)
        await self._forget(gone)
        for node, address in sorted(living.items()):
            if address not in self._members and address not in self._unused:
                self._members[address] = member = Member(address, node, ingress_at(address))
                member.tasks.append(asyncio.create_task(self._welcome(member)))

    async def _forget(self, members: Collection[Member]) -> None:
        for member in members:
            del self._members[member.address]
            for task in member.tasks:
                task.cancel()
        if members:
            await self._changed()

    async def _look_for_silence(self) -> None:
        if len(self._members) < 2:
            self.unreached = {}
            return
        unreached: dict[str, list[str]] = {}
        for address, silent in sorted((await self._ask(lambda door: door.silent())).items()):
            for machine in silent or ():
                unreached.setdefault(machine, []).append(address)
        self.unreached = unreached

    async def _look_at_certificates(self) -> None:
        if self._options.tls is not None:
            for member, told in await self.ask(lambda member: member.door.tls()):
                member.tls = told if told is not None else member.tls

    async def _welcome(self, member: Member) -> None:
        while not member.port:
            try:
                await asyncio.to_thread(start_ingress, self._options, member.address, member.node)
                await self._certify(member)
                member.port = await member.door.port()
            except Exception as error:  # noqa: BLE001  # it is tried again for as long as the machine is there
                logger.warning("The ingress of %s does not serve yet: %s", member.address, error)
                member.problem = str(error)
                await self._changed()
                await asyncio.sleep(_AGAIN_S)
        member.tasks += [
            asyncio.create_task(each)
            for each in (self._tell(member), member.listen(self._woken), self._renew(member))
        ]
        await self._changed()

    async def _certify(self, member: Member) -> None:
        if member.is_alone:
            return
        async with self._certifying:
            if self._known_authority is None:
                self._known_authority = await asyncio.to_thread(self._authority)
        await member.certify(self._known_authority)

    async def _changed(self) -> None:
        """What is reached is another thing than before: all are told."""
        self._want()
        async with self._news:
            self._news.notify_all()

    async def _tell(self, member: Member) -> None:
        while True:
            await member.changed.wait()
            member.changed.clear()
            wanted = self._wanted
            if wanted is None or wanted is member.told:
                continue
            try:
                await asyncio.wait_for(member.bring(wanted), _APPLY_S)
                member.told, member.problem = wanted, None
                if not member.knows:
                    member.knows = True
                    await self._changed()
            except Exception as error:  # noqa: BLE001  # it is told again; what it knows is complete in itself
                logger.warning("The ingress of %s was not told of a change: %r", member.address, error)
                member.told, member.problem = None, str(error) or type(error).__name__
                member.changed.set()
                await asyncio.sleep(_AGAIN_S)
            async with self._news:
                self._news.notify_all()

    async def _renew(self, member: Member) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await self._certify(member)
            except Exception as error:  # noqa: BLE001  # there are weeks for it
                logger.warning("The certificate of %s was not renewed yet: %r", member.address, error)
