"""The beginnings of versions: what was counted at their backends before they had them. No effects here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flyteray._plan.traffic.figures import Figures

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
