"""The places of a run with a limit are kept by its keeper; a parent asks there for those of its children."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable

from flyteray._actors.keeper import Places as PlacesDoor
from flyteray._actors.keeper import keeper
from flyteray._actors.questions import ask, send
from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.places import Grant, Places
from flyteray._plan.actions.room import EndlessRoom, LimitedRoom, Room
from flyteray._tasks.call import Call

_LISTEN_S = 10.0  # how long one question for places may wait


class KeptPlaces(PlacesDoor):
    """The places of all runs with a limit that go on here."""

    def __init__(self) -> None:
        self._runs: dict[str, _RunPlaces] = {}

    async def take(self, run: str, limit: int, action: str, parent: str) -> None:
        self._of(run, limit).take(action, parent)

    async def give(self, run: str, limit: int, action: str, parent: str, last: bool) -> None:
        self._of(run, limit).give(action, parent, last)

    async def granted(self, run: str, limit: int, parent: str) -> list[str]:
        return await self._of(run, limit).granted(parent)

    def forget(self, run: str) -> None:
        """Begin anew with the places of a run, whose root action begins anew or has ended."""
        self._runs.pop(run, None)

    def _of(self, run: str, limit: int) -> _RunPlaces:
        return self._runs.setdefault(run, _RunPlaces(limit))


class _RunPlaces:
    """The places of one run, and who is to be told of those that were granted."""

    def __init__(self, limit: int) -> None:
        self._places = Places(limit, ROOT)
        self._granted: defaultdict[str, list[str]] = defaultdict(list)
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def take(self, action: str, parent: str) -> None:
        self._tell(self._places.take(action, parent))

    def give(self, action: str, parent: str, last: bool) -> None:
        self._granted.pop(action, None)
        self._news.pop(action, None)
        self._tell(self._places.give(action, parent, last))

    def _tell(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            self._granted[grant.told].append(grant.action)
            self._news[grant.told].set()

    async def granted(self, parent: str) -> list[str]:
        if not self._granted[parent]:
            try:
                await asyncio.wait_for(self._news[parent].wait(), _LISTEN_S)
            except asyncio.TimeoutError:
                return []
        self._news[parent].clear()
        return self._granted.pop(parent, [])


class FarRoom(LimitedRoom):
    """The room of an action in a worker: it asks the keeper, and a thread listens for what that grants."""

    def __init__(self, run: str, action: str, limit: int) -> None:
        super().__init__(action)
        self._run = run
        self._limit = limit
        self._listening = threading.Lock()
        self._listens = False

    def ask(self, child: str) -> None:
        send(keeper().places.take(self._run, self._limit, child, self.action))
        self._listen()

    def end(self, child: str, last: bool) -> None:
        send(keeper().places.give(self._run, self._limit, child, self.action, last))
        self._listen()

    def _listen(self) -> None:
        with self._listening:
            if self._listens or not self.is_waited_in:
                return
            self._listens = True
        threading.Thread(target=self._hear, name="flyteray-places", daemon=True).start()

    def _hear(self) -> None:
        while True:
            try:
                self.granted(ask(keeper().places.granted(self._run, self._limit, self.action)))
            except Exception as error:  # noqa: BLE001  # raised where the places are waited for
                self.failed(error)
            with self._listening:
                if not self.is_waited_in:
                    self._listens = False
                    return


def room_of(call: Call, limit: int) -> Room:
    """The room for the children of a call of a run whose ``limit`` that is; 0 is none."""
    return FarRoom(call.run, call.action, limit) if limit else EndlessRoom()
