"""What is seen of requests that have ended: HAProxy's lines of them are read as they come, counted and logged."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterable
from pathlib import Path

from flyteray._ingress.copies.pairs import Pairs
from flyteray._ingress.haproxy.supervisor import SEEN_PIPE
from flyteray._ingress.routes import IngressState
from flyteray._ingress.seen import entries, lines
from flyteray._ingress.seen.access_log import AccessLog
from flyteray._ingress.seen.spans import Spans
from flyteray._ingress.seen.tally import Tally
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.shadow import Compared
from flyteray._traces.asked import Variables
from flyteray.errors import InitializationError

_EVERY_S = (
    0.05  # from one reading to the next: HAProxy has to wake nobody meanwhile, and lines come in batches
)
_PIECE = 1 << 20  # bytes
_LOOK_S = 1.0  # from one look whether the pipe is another one, as of another supervisor, to the next


class Seen:
    """What is seen at the HAProxy of a directory, and at the processes that reloads have left behind.

    They leave their lines in a pipe, which is emptied in a thread. What has come while nobody read it is read first:
    the next object for the same directory carries on.

    Args:
        directory: Where HAProxy runs.
        state: What it does at the moment.
        logs: Whether an entry of each request is written to the access log in the directory.
        traces: The variables by which spans of requests are sent; none: they are not made.

    Attributes:
        log: The access log; None where nothing is written.
    """

    def __init__(self, directory: Path, state: IngressState, logs: bool, traces: Variables = ()) -> None:
        self._pipe = directory / SEEN_PIPE
        self._state = state
        self._tally = Tally()
        self._pairs = Pairs()
        self.log = AccessLog(directory) if logs else None
        self._full = False  # the log could not be written
        self._spans = _spans(traces)
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name="flyteray-seen", daemon=True).start()

    def update(self, state: IngressState) -> None:
        """Go by another state from now on: it tells what is where, and how it is called."""
        self._state = state

    def figures(self, backends: Iterable[int]) -> dict[int, Figures]:
        """How the requests of these backends went that have ended since this was made."""
        return self._tally.figures(backends)

    def compared(self, shadows: Iterable[str]) -> dict[str, Compared]:
        """What came of the requests that were to be copied for these shadows since this was made."""
        return self._pairs.compared(shadows)

    def stop(self) -> None:
        """Read no more, within a second."""
        self._stopped.set()
        if self.log is not None:
            self.log.close()
        if self._spans is not None:
            self._spans.close()

    def _work(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(FileNotFoundError):  # the supervisor is starting
                pipe = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    self._empty(pipe)
                finally:
                    os.close(pipe)
            self._stopped.wait(_EVERY_S)

    def _empty(self, pipe: int) -> None:
        """Read a pipe until its supervisor has ended, or this is stopped."""
        rest = b""
        while not self._stopped.is_set():
            if not select.select([pipe], [], [], _LOOK_S)[0]:
                if not os.path.samestat(os.stat(self._pipe), os.fstat(pipe)):
                    return
                continue
            if self._stopped.is_set():
                return
            try:
                piece = os.read(pipe, _PIECE)
            except BlockingIOError:
                continue  # another one, which is about to end, was quicker
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            self._take(whole)
            self._stopped.wait(_EVERY_S)

    def _take(self, written: Iterable[bytes]) -> None:
        ended, state = [request for line in written if (request := lines.read(line))], self._state
        of = ((entries.backend(request, state), request) for request in ended)
        self._tally.add((backend, request) for backend, request in of if backend is not None)
        self._pairs.add(ended)
        if self._spans is not None:
            self._spans.add(ended, state)
        if self.log is not None:
            try:
                self.log.write(entries.entry(request, state) for request in ended)
            except OSError as error:
                if not self._full:  # once: the disk may be full for hours
                    print(f"The access log misses requests: {error!r}", flush=True)
                self._full = True
            else:
                self._full = False


def _spans(traces: Variables) -> Spans | None:
    try:
        return Spans(traces) if traces else None
    except InitializationError as error:  # of this machine alone, and no reason to serve nobody
        print(f"The ingress sends no traces: {error}", flush=True)
        return None
