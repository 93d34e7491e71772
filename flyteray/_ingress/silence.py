"""Nodes that have become silent are found by connecting to their ingress: the kernel of one that is busy answers."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping

from flyteray._ingress.routes import Slot
from flyteray.errors import BaseRuntimeError

DOUBTFUL_S = 2.5  # without an answer; HAProxy's own checks of a node that is not asked are far apart
SILENT_S = 3.5  # by then no request is on its way to a doubtful node any more that could go elsewhere
_EVERY_S = 0.5
_ANSWER_S = 1.0
_ANSWERS = (0, errno.ECONNREFUSED)


class SilenceWatch:
    """Tells of ingresses of other nodes that have not answered for seconds, in its own thread.

    ``doubtful`` is called with all that are, again and again until there is none; ``silent`` with one of them a while
    later, once for each silence. What raises is called again. What listens there is connected to and left, no more.
    """

    def __init__(
        self, doubtful: Callable[[frozenset[Slot]], object], silent: Callable[[Slot], object]
    ) -> None:
        self._doubtful = doubtful
        self._silent = silent
        self._doubted: frozenset[Slot] = frozenset()
        self._watched: frozenset[Slot] = frozenset()
        self.found: frozenset[Slot] = frozenset()  # those that are silent now
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flyteray-silence", daemon=True)

    def watch(self, ingresses: Collection[Slot]) -> None:
        """Watch these from now on, and no others; the first ones start the thread."""
        self._watched = frozenset(ingresses)
        if self._watched and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread, within seconds."""
        self._stopped.set()

    def _work(self) -> None:
        heard: dict[Slot, float] = {}
        while not self._stopped.is_set():
            began, watched = time.monotonic(), self._watched
            try:
                answering = _answering(watched)
            except OSError:  # too few open files here say nothing of the others
                self._stopped.wait(_EVERY_S)
                continue
            heard = {each: began if each in answering else heard.get(each, began) for each in watched}
            silence = {
                each: time.monotonic() - since for each, since in heard.items() if each not in answering
            }
            try:
                self._tell(silence)
            except (BaseRuntimeError, OSError) as error:
                hosts = ", ".join(sorted({each.host for each in silence}))
                print(f"HAProxy can't be told yet which machines are silent ({hosts}): {error!r}", flush=True)
            self._stopped.wait(max(0.0, began + _EVERY_S - time.monotonic()))

    def _tell(self, silence: Mapping[Slot, float]) -> None:
        doubtful = frozenset(each for each, seconds in silence.items() if seconds >= DOUBTFUL_S)
        self.found &= doubtful
        if doubtful or self._doubted:
            self._doubtful(doubtful)
            self._doubted = doubtful
        for ingress in doubtful - self.found:
            if silence[ingress] >= SILENT_S:
                self._silent(ingress)
                self.found |= {ingress}


def _answering(ingresses: Collection[Slot]) -> set[Slot]:
    """Those whose nodes answer at all: a refusal is an answer.

    It is asked for hundreds of nodes twice a second: streams of asyncio's take ten times as long.
    """
    answering: set[Slot] = set()
    with contextlib.ExitStack() as sockets:
        poll, asked = select.poll(), {}
        for ingress in ingresses:
            connecting = sockets.enter_context(
                socket.socket(socket.AF_INET6 if ":" in ingress.host else socket.AF_INET)
            )
            connecting.setblocking(False)
            said = connecting.connect_ex((ingress.host, ingress.port))
            if said == errno.EINPROGRESS:
                poll.register(connecting, select.POLLOUT)
                asked[connecting.fileno()] = connecting, ingress
            elif said in _ANSWERS:
                answering.add(ingress)
        deadline = time.monotonic() + _ANSWER_S
        while asked and (left := deadline - time.monotonic()) > 0:
            for number, _ in poll.poll(1000 * left):
                poll.unregister(number)
                connecting, ingress = asked.pop(number)
                if connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _ANSWERS:
                    answering.add(ingress)
    return answering
