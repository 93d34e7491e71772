"""The pace of clients: who sends a few bytes of a body now and then would hold a connection and a replica for ever.

Those who read so slowly are left to the kernel, which knows what has arrived (``tcp-ut`` in HAProxy's configuration).
"""

from __future__ import annotations

from collections.abc import Mapping

SLOWEST = 240  # bytes of a body per second
GRACE_S = 20.0  # in which a body may come as slowly as it likes
MEASURED_S = 30.0  # over so long it must have come at that rate


class Paces:
    """How fast the bodies come that are waited for."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, int]] = {}

    def too_slow(self, received: Mapping[str, int], now: float) -> list[str]:
        """Of the requests whose bodies are waited for, those that have been too slow.

        ``received`` has their bytes so far, by a name of each. One that was not waited for at the last look begins
        anew.
        """
        before, self._since = self._since, {}
        slow = []
        for name, count in received.items():
            began, then = before.get(name, (now, count))
            if count - then >= SLOWEST * MEASURED_S:
                began, then = now, count
            elif now - began >= MEASURED_S:
                slow.append(name)
            self._since[name] = (began, then)
        return slow
