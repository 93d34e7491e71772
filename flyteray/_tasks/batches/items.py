"""An item is a call on its way in a batch; what was sent together is open until a worker has told of all of it."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import TaskCancelledError

from flyteray._machine.alarms import alarms
from flyteray._plan.values.pickling import Payload
from flyteray._tasks.batches.batch import LATE_S, Told
from flyteray._tasks.batches.pace import Pace
from flyteray._tasks.call import Call
from flyteray._tasks.cancels import cancel
from flyteray._tasks.submission import translate_error, was_lost
from flyteray._tasks.waits import Ended, tell
from flyteray.errors import ActionAbortedError, TaskInterruptedError

_QUEUED_S = 3 * LATE_S
_LOOK_S = 0.5  # how soon a batch that was sent meanwhile is waited for


@dataclass(eq=False)
class Item:
    """A call, and the future of its outcome: a pickled value, or None where it is to travel alone."""

    call: Call
    header: bytes
    pace: Pace
    future: asyncio.Future[Payload | None]
    cancelled: bool = False

    def given_back(self) -> Ended:
        """That it is to travel alone, unless it was cancelled."""
        if self.cancelled:
            return Ended(self.future, error=ActionAbortedError(f"Task {self.call.task!r} was cancelled."))
        return Ended(self.future)


class OpenBatches:
    """The batches of this process of which not all was told."""

    def __init__(self) -> None:
        self._open: dict[Any, dict[int, Item]] = {}  # by Ray's generator of what is told
        self._change = threading.Lock()
        self._reads = False

    def add(self, telling: Any, items: list[Item]) -> None:
        """Take a batch that was sent; ``telling`` is Ray's generator of what is told of it."""
        with self._change:
            self._open[telling] = dict(enumerate(items))
            if not self._reads:
                self._reads = True
                threading.Thread(target=self._read, name="flyteray-batches", daemon=True).start()
        for item in items:
            if item.cancelled:  # just now
                self.cancel(item)

    def cancel(self, item: Item) -> None:
        """Cancel a call that was sent, from any thread; what was sent with it goes on."""
        item.cancelled = True
        with self._change:
            found = [each for each in self._open.items() if item in each[1].values()]
        for telling, items in found:
            if not self._cancel_all(telling, items):
                # One that has begun is late by then, and what is left of it is told. What has not is sent anew.
                alarms().after(_QUEUED_S, functools.partial(self._cancel_queued, telling, items))

    def _cancel_all(self, telling: Any, items: dict[int, Item]) -> bool:
        """Cancel a batch of which nothing else is wanted; False where something is."""
        if not all(each.cancelled for each in list(items.values())):
            return False
        cancel(telling)
        return True

    def _cancel_queued(self, telling: Any, items: dict[int, Item]) -> None:
        if any(each.cancelled for each in list(items.values())):
            cancel(telling)

    def _read(self) -> None:
        """Take in what workers tell, while there are batches."""
        while True:
            with self._change:
                tellings = list(self._open)
                if not tellings:
                    self._reads = False
                    return
            ready, _ = ray.wait(tellings, num_returns=1, timeout=_LOOK_S, fetch_local=False)
            for telling in ready:
                self._take(telling, self._open[telling])

    def _take(self, telling: Any, items: dict[int, Item]) -> None:
        try:
            told: Told = ray.get(next(telling))
        except (StopIteration, TaskCancelledError):  # with what it was sent with, or on its way
            tell(item.given_back() for item in self._close(telling))
        except Exception as error:  # noqa: BLE001  # Ray's: it concerns all that have not ended
            left = self._close(telling)
            several = len(left) > 1
            tell(Ended(item.future, error=_lost(error, item) if several else error) for item in left)
        else:
            with self._change:
                ended = [(items.pop(outcome.number), outcome) for outcome in told.outcomes]
                given_back = [items.pop(number) for number in told.given_back if number in items]
            for item, outcome in ended:
                if outcome.seconds is not None:
                    nbytes = outcome.value.nbytes if outcome.value else 0
                    item.pace.note(outcome.seconds, nbytes, time.monotonic())
            told_of = [Ended(item.future, outcome.value, outcome.error) for item, outcome in ended]
            tell([*told_of, *(item.given_back() for item in given_back)])
            if items:
                self._cancel_all(telling, items)

    def _close(self, telling: Any) -> list[Item]:
        with self._change:
            return list(self._open.pop(telling).values())


def _lost(error: Exception, item: Item) -> Exception:
    """The error of Ray's for several calls: where a worker is lost, nobody knows which of them is to blame."""
    told = translate_error(error, item.call.task)
    return TaskInterruptedError("TaskInterruptedError", str(told)) if was_lost(told) else told
