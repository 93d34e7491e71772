"""Alarms call functions at a time, however many there are, from threads that nobody waits for."""

from __future__ import annotations

import functools
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class Alarm:
    """One call to come; :meth:`cancel` takes it back."""

    at: float
    number: int
    function: Callable[[], object] | None = field(compare=False)

    def cancel(self) -> None:
        """Take it back; one that has begun goes on."""
        self.function = None


class Alarms:
    """The alarms of this process, watched by one thread while there are some; each is called in one of its own."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._coming: list[Alarm] = []
        self._numbers = itertools.count()
        self._watched = False

    def after(self, seconds: float, function: Callable[[], object]) -> Alarm:
        """Call a function after so many seconds."""
        alarm = Alarm(time.monotonic() + seconds, next(self._numbers), function)
        with self._change:
            heapq.heappush(self._coming, alarm)
            if self._watched:
                self._change.notify()
            else:
                self._watched = True
                threading.Thread(target=self._watch, name="flyteray-alarms", daemon=True).start()
        return alarm

    def _watch(self) -> None:
        while True:
            with self._change:
                while self._coming and self._coming[0].function is None:
                    heapq.heappop(self._coming)
                if not self._coming:
                    self._watched = False
                    return
                left = self._coming[0].at - time.monotonic()
                if left > 0:
                    self._change.wait(left)
                    continue
                alarm = heapq.heappop(self._coming)
            if (function := alarm.function) is not None:
                threading.Thread(target=function, name="flyteray-alarm", daemon=True).start()


@functools.cache
def alarms() -> Alarms:
    """The alarms of this process."""
    return Alarms()
