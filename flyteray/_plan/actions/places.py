"""The places of a run: as many of its actions run at one time, and one that waits for others lends them its own."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple


class Grant(NamedTuple):
    """A place that an action has now. ``told`` is who has asked: its parent, or the action that has its own again."""

    action: str
    told: str


class Places:
    """The actions of a run that run, those that wait for a place, and those that have lent theirs.

    An action with children that have not ended counts as waiting for them, so that a parent never holds what its
    children need. When the last of them has ended it asks for its place again, before all that have not begun.
    """

    def __init__(self, limit: int, root: str) -> None:
        self._free = limit - 1
        self._holding = {root}
        self._parents: dict[str, str | None] = {root: None}
        self._children: defaultdict[str, set[str]] = defaultdict(set)
        self._queue: deque[str] = deque()

    def take(self, action: str, parent: str) -> list[Grant]:
        """Ask for a place for a child; asked again, nothing changes. Returns who has a place now and had none."""
        if action in self._parents or parent not in self._parents:
            return []
        self._parents[action] = parent
        self._children[parent].add(action)
        self._leave(parent)
        self._queue.append(action)
        return self._granted()

    def give(self, action: str, parent: str, last: bool) -> list[Grant]:
        """Take back the place of an action that has ended, and of all below; returns as :meth:`take`.

        After the ``last`` one its parent asks for its own, whatever an attempt of it that has died has left here.
        """
        self._forget(action)
        if last and parent in self._parents:
            for left in list(self._children[parent]):
                self._forget(left)
            if parent not in self._holding and parent not in self._queue:
                self._queue.appendleft(parent)
        return self._granted()

    def _forget(self, action: str) -> None:
        for child in list(self._children.pop(action, ())):
            self._forget(child)
        self._leave(action)
        if (parent := self._parents.pop(action, None)) is not None:
            self._children[parent].discard(action)

    def _leave(self, action: str) -> None:
        if action in self._holding:
            self._holding.remove(action)
            self._free += 1
        elif action in self._queue:
            self._queue.remove(action)

    def _granted(self) -> list[Grant]:
        granted = []
        while self._free and self._queue:
            action = self._queue.popleft()
            self._holding.add(action)
            self._free -= 1
            parent = self._parents[action]
            # Only one that has lent its place is known to have had children.
            told = action if parent is None or action in self._children else parent
            granted.append(Grant(action, told))
        return granted
