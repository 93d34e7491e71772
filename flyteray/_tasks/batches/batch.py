"""A batch is short calls of one task that travel together; a worker executes them one after the other.

A batch ends in time: what has not begun when its time is up, or one of its calls is cancelled, is given back to the
caller. A call that waits for one behind it does not wait for ever therefore, and none waits for one that takes long.
Code in C that lets no other thread of Python run has the rest of its batch wait: nobody can give that back meanwhile.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flyteray._plan import failure
from flyteray._plan.values import pickling
from flyteray._plan.values.pickling import Payload
from flyteray._tasks.call import ActionFailed, Call
from flyteray.errors import BaseRuntimeError

LATE_S = 0.1  # ten times what it was meant to take
_LARGE = 1 << 20  # bytes of outputs after which what has not begun is given back


class Outcome(NamedTuple):
    """How the call of a number has ended: with a pickled value or an error.

    ``seconds`` is how long it took; None where that says nothing of the next, as its code was loaded.
    """

    number: int
    value: Payload | None
    error: Exception | None
    seconds: float | None


class Told(NamedTuple):
    """What a worker tells of a batch at one time: what has ended since, and the numbers of what is given back."""

    outcomes: list[Outcome]
    given_back: Sequence[int]


def pack(calls: Sequence[tuple[Call, bytes]]) -> bytes:
    """Calls, each with its pickled inputs, as Ray hands them on fastest: what they share is in there once."""
    return pickle.dumps([(header, *call) for call, header in calls])


class Batch:
    """The calls of a batch in the worker that executes them.

    Args:
        packed: As :func:`pack` gave it.
        execute: Executes one call, and returns its value.
        loads: Counts what this process had to load so far.
    """

    def __init__(
        self, packed: bytes, execute: Callable[[Call, Payload], Any], loads: Callable[[], int]
    ) -> None:
        self._calls = [(Call(*fields), Payload(header, [])) for header, *fields in pickle.loads(packed)]
        self._execute = execute
        self._loads = loads
        self._change = threading.Lock()
        self._begun = 0
        self._outcomes: list[Outcome] = []
        self._given_back: Sequence[int] = ()
        self._late_at = time.monotonic() + LATE_S

    def run(self) -> None:
        """Execute the calls, on the user's thread, until all have ended or the others were given back."""
        nbytes = 0
        for index, (call, arguments) in enumerate(self._calls):
            if self.is_late() or nbytes > _LARGE:
                self.give_back()
            with self._change:
                if index >= len(self._calls) - len(self._given_back):
                    return
                self._begun = index + 1
            outcome = self._outcome(index, call, arguments)
            nbytes += outcome.value.nbytes if outcome.value else 0
            with self._change:
                self._outcomes.append(outcome)

    def _outcome(self, index: int, call: Call, arguments: Payload) -> Outcome:
        began, loads = time.perf_counter(), self._loads()
        value: Payload | None = None
        error: Exception | None = None
        try:
            value = pickling.dump(self._execute(call, arguments), "output")
        except (ActionFailed, BaseRuntimeError) as failed:
            error = failed
        except Exception as failed:  # noqa: BLE001  # it would not travel as it is
            error = ActionFailed(failure.describe(failed))
        took = time.perf_counter() - began if self._loads() == loads else None
        return Outcome(index, value, error, took)

    def give_back(self) -> bool:
        """Give back what has not begun; False where nothing was left."""
        with self._change:
            if self._given_back or self._begun == len(self._calls):
                return False
            self._given_back = range(self._begun, len(self._calls))
            return True

    def is_late(self) -> bool:
        """Whether its time is up, or something was given back before."""
        return bool(self._given_back) or time.monotonic() > self._late_at

    def take(self) -> Told:
        """What there is to tell since the last time."""
        with self._change:
            outcomes, self._outcomes = self._outcomes, []
            return Told(outcomes, self._given_back)
