"""Orders to abort single actions are kept until the processes that wait for these have asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Collection


class Aborting:
    """The actions that are to be aborted, by run, and who listens."""

    def __init__(self) -> None:
        self._orders: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def order(self, run: str, action: str, reason: str) -> None:
        """Have an action aborted; the first reason counts."""
        self._orders[run].setdefault(action, reason)
        if (changed := self._changed.pop(run, None)) is not None:
            changed.set()

    async def orders(self, run: str, seen: Collection[str], timeout_s: float) -> dict[str, str]:
        """The actions of a run that are to be aborted, but those ``seen``; none after ``timeout_s`` seconds."""
        if not (found := self._unseen(run, seen)):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed[run].wait(), timeout_s)
            found = self._unseen(run, seen)
        return found

    def ended(self, run: str) -> None:
        """Forget a run that has ended, and let who listens go."""
        self._orders.pop(run, None)
        if (changed := self._changed.pop(run, None)) is not None:
            changed.set()

    def _unseen(self, run: str, seen: Collection[str]) -> dict[str, str]:
        orders = self._orders.get(run, {})
        return {action: reason for action, reason in orders.items() if action not in seen}
