"""The machines where nothing runs, which their ingress leaves after a while. No effects here; time is passed in."""

from __future__ import annotations

from collections.abc import Collection

_PATIENCE_S = 20.0  # without anything on a machine, and without anybody there who looks for the ingress


class UnusedMachines:
    """The machines where nothing runs, and since when; ``at`` is a time in seconds of a clock that never goes back.

    An autoscaler takes a node away where nothing is left, and any actor is something: with an ingress on each of them
    a cluster that has grown would stay as it is.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def look_for(self, address: str, at: float) -> None:
        """Note that somebody on the machine of this address looks for its ingress: it is used for a while."""
        self._asked[address] = at

    def see(self, unused: Collection[str], at: float) -> None:
        """Note the addresses of the machines where nothing runs now."""
        self._asked = {address: when for address, when in self._asked.items() if when > at - _PATIENCE_S}
        self._since = {
            address: self._since.get(address, at) for address in unused if address not in self._asked
        }

    def __contains__(self, address: str) -> bool:
        return address in self._since

    def for_long(self, at: float) -> list[str]:
        """The machines that their ingress may leave."""
        return sorted(address for address, since in self._since.items() if since <= at - _PATIENCE_S)
