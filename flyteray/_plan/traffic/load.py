"""The load of an app's version is what its requests and replicas are at a moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from flyteray._plan.traffic.figures import Figures


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
    """

    app: str
    version: str
    ready: int
    wanted: int
    open: Open = field(default_factory=Open)
    figures: Figures = field(default_factory=Figures)
    cold_starts: int = 0
