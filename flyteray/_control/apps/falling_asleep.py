"""An app version falls asleep step by step, and no request meets a replica that goes. No effects; time is passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_QUIET_S = 2.0  # without requests: all ingresses know that none goes to it, and what they had sent is seen
_GOING_S = 10.0  # for replicas that Serve ends to say so themselves


class FallingAsleep:
    """The versions that fall asleep: no request is sent to their replicas any more, and all wait.

    One that comes while the replicas are still there has them back at once. When Serve was asked to end them there is
    no way back: others are asked for when they have said that they go. Until then Serve might keep them for others
    and tell nobody; and if they still took connections, they would keep their hardware for as long as these are open.

    ``at`` is a time in seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._going: dict[str, float] = {}

    @property
    def versions(self) -> set[str]:
        """The versions that fall asleep."""
        return {*self._since, *self._going}

    def due(self, changes: Mapping[str, int], ready: Collection[str], at: float) -> dict[str, int]:
        """Those changes of numbers of replicas, by version, that Serve may be asked for now.

        ``ready`` are the versions that have a replica which is ready.
        """
        self._going = {
            version: since
            for version, since in self._going.items()
            if version in ready and at - since < _GOING_S
        }
        quiet = {version for version, number in changes.items() if number == 0 and version in ready}
        self._since = {version: self._since.get(version, at) for version in quiet}
        return {version: number for version, number in changes.items() if self._is_due(version, number, at)}

    def asked(self, version: str, replicas: int, at: float) -> None:
        """Note that Serve was asked for that many replicas of a version."""
        if replicas == 0 and self._since.pop(version, None) is not None:
            self._going[version] = at

    def _is_due(self, version: str, number: int, at: float) -> bool:
        if number:
            return version not in self._going
        return version not in self._since or at - self._since[version] >= _QUIET_S
