"""The load of an app's version is what its requests and replicas are at a moment, counted from its beginning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.shadow import Compared


@dataclass(frozen=True)
class Open:
    """Requests and connections that are open.

    Attributes:
        in_flight: Those that a replica has.
        queued: Those that wait for a replica to have room.
        waiting: Those that wait for a replica to start, or have waited for one and are passed on to it.
    """

    in_flight: int = 0
    queued: int = 0
    waiting: int = 0

    def __add__(self, other: Open) -> Open:
        return Open(
            self.in_flight + other.in_flight, self.queued + other.queued, self.waiting + other.waiting
        )


@dataclass(frozen=True)
class VersionLoad:
    """The load of a version of an app.

    Attributes:
        app: The app's name.
        version: The version's name.
        ready: How many replicas are ready.
        wanted: How many there are to be.
        open: Requests and connections that are open now.
        figures: How those went that have ended since the ingresses were started.
        cold_starts: How often it was woken by a request, since the controller was started.
        compared: What came of the requests that it got copies of; None for what is no shadow.
    """

    app: str
    version: str
    ready: int
    wanted: int
    open: Open = field(default_factory=Open)
    figures: Figures = field(default_factory=Figures)
    cold_starts: int = 0
    compared: Compared | None = None


VersionPlace = tuple[str, str, int]
"""An app, a version of it, and the version's backend, which another one may have had before."""


class Beginnings:
    """What is not of the versions that have backends now. Those that are ``there`` at first have all of theirs."""

    def __init__(self, there: Collection[VersionPlace]) -> None:
        self._before = dict.fromkeys(there, Figures())

    def unknown(self, there: Collection[VersionPlace]) -> list[int]:
        """The backends of those of which :meth:`note` has not heard."""
        return [place[-1] for place in there if place not in self._before]

    def note(self, there: Collection[VersionPlace], counted: Mapping[int, Figures]) -> None:
        """Go by these from now on; ``counted`` has the figures of the backends that were unknown."""
        before = self._before
        self._before = {place: before[place] if place in before else counted[place[-1]] for place in there}

    def since(self, place: VersionPlace, figures: Figures) -> Figures:
        """What of the figures of its backend is a version's own; nothing once it has none any more."""
        before = self._before.get(place)
        return Figures() if before is None else figures - before
