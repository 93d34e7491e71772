"""A watch asks a server for its health for as long as it serves, where it has a way to say that it is not well."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flyteray._machine.health import Health
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

UNWELL_S = 60.0  # for a server to become well again before its replica is replaced
_EVERY_S = 1.0


@dataclass(eq=False, repr=False)
class HealthWatch:
    """Asks every second, in a thread of its own.

    A server that answers that it does not take requests is unwell: that is logged once, and ``on_change`` is called
    with True, and with False when it is well again. One that is unwell for more than ``limit_s`` fails :meth:`check`.
    No answer says nothing: all that could give one may be at work.
    """

    ask: Callable[[], Health]
    on_change: Callable[[bool], None] | None
    limit_s: float = UNWELL_S
    every_s: float = _EVERY_S

    def __post_init__(self) -> None:
        self._since: float | None = None
        self._seen = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flyteray-health", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. Twice is harmless."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise if the server has been unwell for more than the limit."""
        since = self._since
        if since is not None and time.monotonic() - since > self.limit_s:
            raise RuntimeUserError(
                "ServerUnwell", f"The app's server {self._seen}, for more than {self.limit_s:g} s."
            )

    def _work(self) -> None:
        while not self._stop.wait(self.every_s):
            health = self.ask()
            is_unwell = health.answers and not health.is_good
            if is_unwell == (self._since is not None) or self._stop.is_set():
                continue
            self._since, self._seen = (time.monotonic() if is_unwell else None), health.seen
            logger.warning("The app's server %s.", health.seen)
            if self.on_change is not None:
                self.on_change(is_unwell)
