"""What the access logs of the machines tell is put in the order of time. No effects here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """A place in a machine's access log: so many bytes into the file of this number, counted from the first ever."""

    file: int
    offset: int


@dataclass(frozen=True)
class Page:
    """Entries of an app in a machine's access log.

    Attributes:
        entries: JSON objects, a line each, as they were written.
        place: Where the next page begins.
        until: All that ended before this time is in this page or in those before it; as in the entries.
    """

    entries: tuple[str, ...]
    place: Place
    until: str


@dataclass
class InOrder:
    """The entries of all machines, held back until none can come any more that ended before them."""

    _held: list[tuple[str, str]] = field(default_factory=list)

    def after(self, pages: Iterable[Page]) -> list[str]:
        """What can be told once these pages have come, one of each machine that has answered, the oldest first."""
        pages = list(pages)
        self._held += [(time_of(entry), entry) for page in pages for entry in page.entries]
        self._held.sort(key=lambda each: each[0])
        until = min((page.until for page in pages), default="")
        ready = [entry for time, entry in self._held if time <= until]
        del self._held[: len(ready)]
        return ready

    def rest(self) -> list[str]:
        """What is held, the oldest first."""
        return [entry for _, entry in self._held]


def time_of(entry: str) -> str:
    """When the request of an entry ended."""
    return str(json.loads(entry)["time"])
