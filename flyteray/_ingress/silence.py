"""Nodes that have become silent are found by connecting to their ingress: the kernel of one that is busy answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection

from flyteray._ingress.routes import Slot

SILENT_S = 4.0  # without an answer; HAProxy's own checks of a node that is not asked are far apart
_EVERY_S = 0.5
_ANSWER_S = 1.0


class SilenceWatch:
    """Calls ``silent`` with the address of another node's ingress that has not answered for seconds, in its own thread.

    It is called once for each silence. What listens there is connected to and left, no more.
    """

    def __init__(self, silent: Callable[[Slot], object]) -> None:
        self._silent = silent
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
        told: set[Slot] = set()
        while not self._stopped.is_set():
            began, watched = clock(), list(self._watched)
            answers = await asyncio.gather(*(_answers(ingress) for ingress in watched))
            heard = {ingress: heard.get(ingress, began) for ingress in watched}
            for ingress, answered in zip(watched, answers, strict=True):
                if answered:
                    heard[ingress] = began
                    told.discard(ingress)
                elif clock() - heard[ingress] >= SILENT_S and ingress not in told:
                    told.add(ingress)
                    await asyncio.to_thread(self._silent, ingress)
            self.found = frozenset(told & self._watched)
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
