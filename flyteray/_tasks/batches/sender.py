"""A sender has calls of this process that are made at one time travel together, where they are short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flyteray._plan.spec import Start
from flyteray._plan.values.pickling import Payload, inline
from flyteray._tasks.batches.batch import pack
from flyteray._tasks.batches.items import Item, OpenBatches
from flyteray._tasks.batches.pace import FEW, PROBES, Pace
from flyteray._tasks.call import Call
from flyteray._tasks.submission import NamedEnvironment, Submitter
from flyteray._tasks.waits import Ended, settle

_PROBED_S = 0.03  # how long others wait for the first to tell how long they take: workers may have to start

_Key = tuple[asyncio.AbstractEventLoop, str, str | None, Start, str]


@dataclass(eq=False)
class _Queue:
    """Calls of one task that were made in this turn of an event loop, or wait for the first to tell how long they take.

    ``probed_until`` is when that is waited for no longer, in the loop's time; None where nothing was asked.
    """

    key: _Key
    send: Callable[[bytes], Any]
    pace: Pace
    waiting: list[Item] = field(default_factory=list)
    probed_until: float | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.key[0]


class Sender:
    """Sends calls in batches.

    Args:
        submitter: Gives a batch to Ray, which answers by a generator of what is told of it.
    """

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._paces: dict[str, Pace] = {}
        self._queues: dict[_Key, _Queue] = {}  # each is touched by its loop only
        self._open = OpenBatches()

    def takes(self, call: Call, arguments: Payload) -> bool:
        """Whether a call may travel with others: not one that was tried before, has limits, or large inputs."""
        if call.attempt or call.limits or inline(arguments) is None:
            return False
        pace = self._paces.get(call.task)
        return pace is None or pace.together(time.monotonic()) != 1

    def add(self, environment: NamedEnvironment, call: Call, arguments: Payload, start: Start) -> Item:
        """Take a call of the event loop that runs: it is sent with others that are made in this turn of the loop.

        PlacementError where no node of the cluster can take it.
        """
        queue = self._queue(environment, call, start)
        item = Item(call, arguments.header, queue.pace, queue.loop.create_future())
        queue.waiting.append(item)
        size = queue.pace.together(time.monotonic())
        if size is not None and FEW <= size <= len(queue.waiting):
            self._send(queue, size)
        return item

    def cancel(self, item: Item) -> None:
        """Cancel a call, from any thread."""
        self._open.cancel(item)

    def _queue(self, environment: NamedEnvironment, call: Call, start: Start) -> _Queue:
        loop = asyncio.get_running_loop()
        key = (loop, environment.name, call.bundle or call.version, start, call.task)
        if (queue := self._queues.get(key)) is None:
            send = self._submitter.prepared(environment, call, start).remote
            queue = self._queues[key] = _Queue(key, send, self._paces.setdefault(call.task, Pace()))
            loop.call_soon(self._look, queue)
        return queue

    def _look(self, queue: _Queue) -> None:
        """Decide, when a turn has ended or something was told, how the calls that wait travel."""
        if self._queues.get(queue.key) is not queue:
            return
        for item in [each for each in queue.waiting if each.cancelled]:
            queue.waiting.remove(item)
            settle([item.given_back()])
        size, until = queue.pace.together(time.monotonic()), queue.probed_until
        many = until is not None or len(queue.waiting) >= FEW
        if size is None and many and until is None:
            self._probe(queue)
        elif size is not None or until is None or until <= queue.loop.time():
            del self._queues[queue.key]
            while many and size is not None and size > 1 and queue.waiting:
                self._send(queue, size)
            settle(Ended(item.future) for item in queue.waiting)

    def _probe(self, queue: _Queue) -> None:
        """Send a few calls one by one, and have others wait for what is told of them."""
        queue.probed_until = queue.loop.time() + _PROBED_S
        for _ in range(PROBES):
            for item in self._send(queue, 1):
                item.future.add_done_callback(lambda _: self._look(queue))
        queue.loop.call_later(_PROBED_S, self._look, queue)

    def _send(self, queue: _Queue, size: int) -> list[Item]:
        sent, queue.waiting = queue.waiting[:size], queue.waiting[size:]
        try:
            telling = queue.send(pack([(item.call, item.header) for item in sent]))
        except Exception as error:  # noqa: BLE001  # whatever it is, each of them is told
            settle(Ended(item.future, error=error) for item in sent)
        else:
            self._open.add(telling, sent)
        return sent
