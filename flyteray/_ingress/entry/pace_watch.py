"""Bodies that come too slowly are watched for, and their requests ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from flyteray._ingress.entry.pace import Paces

_EVERY_S = 5.0


class PaceWatch:
    """Has requests ended whose bodies come too slowly, in a thread of its own.

    ``received`` tells the bytes of those that are waited for, by name; ``end`` ends those of these names.
    """

    def __init__(
        self,
        received: Callable[[], Mapping[str, int]],
        end: Callable[[list[str]], object],
        every_s: float = _EVERY_S,
    ) -> None:
        self._received = received
        self._end = end
        self._every_s = every_s
        self._paces = Paces()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flyteray-pace", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within seconds."""
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                slow = self._paces.too_slow(self._received(), time.monotonic())
                if slow:
                    self._end(slow)
            except Exception as error:  # noqa: BLE001  # HAProxy may be starting
                if not self._stopped.is_set():
                    print(f"How fast bodies come is not known at the moment: {error!r}", flush=True)
