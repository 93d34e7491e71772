"""Nodes that have become silent are found by connecting to their ingress: the kernel of one that is busy answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection

from flyteray._ingress.routes import Slot

DOUBTFUL_S = 3.0  # without an answer; HAProxy's own checks of a node that is not asked are far apart
SILENT_S = 4.0  # by then no request is on its way to a doubtful node any more that could go elsewhere
_EVERY_S = 0.5
_ANSWER_S = 1.0


class SilenceWatch:
    """Tells of another node's ingress that has not answered for seconds, in its own thread: first that it is doubtful.

    Both are called with its address, once for each silence. What listens there is connected to and left, no more.
    """

    def __init__(self, doubtful: Callable[[Slot], object], silent: Callable[[Slot], object]) -> None:
        self._steps = ((DOUBTFUL_S, doubtful), (SILENT_S, silent))
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
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        heard: dict[Slot, float] = {}
        told: dict[Slot, int] = {}  # how many of the steps
        while not self._stopped.is_set():
            began, watched = clock(), list(self._watched)
            answers = await asyncio.gather(*(_answers(ingress) for ingress in watched))
            heard = {ingress: heard.get(ingress, began) for ingress in watched}
            for ingress, answered in zip(watched, answers, strict=True):
                if answered:
                    heard[ingress] = began
                    told.pop(ingress, None)
                    continue
                step = told.get(ingress, 0)
                if step < len(self._steps) and clock() - heard[ingress] >= self._steps[step][0]:
                    told[ingress] = step + 1
                    await asyncio.to_thread(self._steps[step][1], ingress)
            self.found = frozenset(each for each in self._watched if told.get(each) == len(self._steps))
            await asyncio.sleep(max(0.0, began + _EVERY_S - clock()))


async def _answers(ingress: Slot) -> bool:
    """Whether the node answers at all: a refusal is an answer."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(ingress.host, ingress.port), _ANSWER_S)
    except ConnectionRefusedError:
        return True
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
