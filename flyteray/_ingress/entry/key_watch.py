"""Keys that open nothing any more are watched for: what is open for them ends, within a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from flyteray._ingress.entry.grants import FOREVER, Grant

_AGAIN_S = 0.5  # what was let in a moment before its key ended may be open a moment later
_LONGEST_S = 3600.0


class KeyWatch:
    """Has what is open for a key ended when the key is gone or its time is over, in a thread of its own.

    ``end`` is called with a test of a key's digest, which tells whether the key still opens anything. One that raises
    is called again.
    """

    def __init__(self, end: Callable[[Callable[[str], bool]], object]) -> None:
        self._end = end
        self._grants: Mapping[str, Grant] = {}
        self._news = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="flyteray-keys", daemon=True)

    def watch(self, grants: Mapping[str, Grant]) -> None:
        """Go by these keys from now on; HAProxy must know them already. The first ones start the thread."""
        if grants == self._grants:
            return
        self._grants = grants
        self._news.set()
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._news.set()

    def is_good(self, digest: str) -> bool:
        """Whether the key of this digest opens anything now."""
        grant = self._grants.get(digest)
        return grant is not None and time.time() < grant.expires

    def _work(self) -> None:
        while True:
            self._news.wait(self._until_next_end())
            self._news.clear()
            if self._stopped:
                return
            self._look()
            if not self._news.wait(_AGAIN_S):
                self._look()

    def _look(self) -> None:
        try:
            self._end(self.is_good)
        except Exception as error:  # noqa: BLE001  # HAProxy may be starting
            if self._stopped:
                return
            print(f"What is open for keys that are gone has not ended yet: {error!r}", flush=True)
            time.sleep(_AGAIN_S)
            self._news.set()

    def _until_next_end(self) -> float:
        now = time.time()
        ends = [grant.expires for grant in self._grants.values() if now < grant.expires < FOREVER]
        return min(_LONGEST_S, max(0.0, min(ends) - now)) if ends else _LONGEST_S
