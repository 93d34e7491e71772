"""A lease is an action's right to make a call that no other makes meanwhile; who holds one may die without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from flyteray._actors.controller import Leases as LeasesDoor
from flyteray._plan.info import ActionEvent


class _Holder(NamedTuple):
    run: str
    action: str
    parent: str | None


class Leases(LeasesDoor):
    """The leases by call. One ends when it is given up, or with the run of its action or the action that called that.

    They are not recorded: where the controller dies, an equal call may be made a second time.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Holder] = {}
        self._freed: dict[str, asyncio.Event] = {}

    async def claim(self, key: str, run: str, action: str, parent: str | None, timeout_s: float) -> bool:
        holder, loop = _Holder(run, action, parent), asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._held.setdefault(key, holder) != holder:
            freed = self._freed.setdefault(key, asyncio.Event())
            try:
                await asyncio.wait_for(freed.wait(), deadline - loop.time())
            except asyncio.TimeoutError:
                return False
        return True

    async def release(self, key: str, run: str, action: str) -> None:
        held = self._held.get(key)
        if held is not None and (held.run, held.action) == (run, action):
            self._free(key)

    def ended(self, run: str) -> None:
        """Free what actions of a run hold, which has ended."""
        self._free_all(key for key, held in self._held.items() if held.run == run)

    def record(self, events: Iterable[ActionEvent]) -> None:
        """Free what the calls of actions hold that have ended, well or not."""
        if self._held:
            over = {(event.run, event.action) for event in events if event.phase.is_terminal}
            self._free_all(key for key, held in self._held.items() if (held.run, held.parent) in over)

    def _free_all(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self._free(key)

    def _free(self, key: str) -> None:
        del self._held[key]
        if freed := self._freed.pop(key, None):
            freed.set()
