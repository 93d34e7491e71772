"""The places of a local run are kept in its process: its actions ask for them as those of a cluster do."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.places import Grant, Places
from flyteray._plan.actions.room import EndlessRoom, LimitedRoom, Room


class LocalPlaces:
    """The places of a local run, of whose actions no more than ``limit`` run at one time; 0: any number."""

    def __init__(self, limit: int) -> None:
        self._places = Places(limit, ROOT) if limit else None
        self._change = threading.Lock()
        self._rooms: dict[str, LimitedRoom] = {}

    def room(self, action: str) -> Room:
        """The room for the children of an action."""
        return EndlessRoom() if self._places is None else _LocalRoom(action, self)

    def take(self, child: str, room: LimitedRoom) -> None:
        """Ask for a place for a child of the action that has this room."""
        assert self._places is not None
        with self._change:
            self._rooms[room.action] = room
            self._tell(self._places.take(child, room.action))

    def give(self, child: str, room: LimitedRoom, last: bool) -> None:
        """Give the place of a child back."""
        assert self._places is not None
        with self._change:
            self._rooms.pop(child, None)
            self._tell(self._places.give(child, room.action, last))

    def _tell(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            self._rooms[grant.told].granted([grant.action])


class _LocalRoom(LimitedRoom):
    def __init__(self, action: str, places: LocalPlaces) -> None:
        super().__init__(action)
        self._places = places

    def ask(self, child: str) -> None:
        self._places.take(child, self)

    def end(self, child: str, last: bool) -> None:
        self._places.give(child, self, last)
