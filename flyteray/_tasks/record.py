"""What happens to actions, reported to the controller in batches, off the hot path."""

from __future__ import annotations

import pickle
import threading
import time

from flyteray._cluster import actors
from flyteray._plan.info import ActionEvent, ActionPhase
from flyteray._plan.spec import EnvironmentSpec
from flyteray._tasks.call import Call

_Attempt = tuple[str, str, int]

_INTERVAL_S = 0.5
_QUEUED_S = 1.0


class Recorder:
    """Collects events of this process and sends them from a thread of its own.

    What happens to an attempt while a batch is collected is told once: by its latest event, which says when it began.
    That a child is queued is told only of those that are still waited for after a while: a child that has ended was
    told of by its own worker.
    """

    def __init__(self) -> None:
        self._events: dict[_Attempt, ActionEvent] = {}
        self._waiting: dict[_Attempt, tuple[Call, EnvironmentSpec, float]] = {}
        self._some = threading.Event()
        threading.Thread(target=self._send_forever, name="flyteray-recorder", daemon=True).start()

    def submitted(self, call: Call, environment: EnvironmentSpec) -> None:
        """Note that a child is to be run, with what its environment asks for; :meth:`ended` must follow."""
        self._waiting[_attempt(call)] = (call, environment, time.time())
        self._some.set()

    def ended(self, call: Call) -> None:
        """Note that a child is waited for no longer."""
        self._waiting.pop(_attempt(call), None)

    def add(
        self,
        call: Call,
        phase: ActionPhase,
        began: float | None = None,
        error: str | None = None,
        at: float | None = None,
        environment: EnvironmentSpec | None = None,
    ) -> None:
        """Note that an action has reached a phase, just now or ``at`` another time.

        ``began`` is when its function was called, if it was. Times are seconds since the epoch. ``environment`` is what
        a queued one asks for.
        """
        # Trusted values on the hot path: validating them would cost more than sending them.
        self._events[_attempt(call)] = ActionEvent.model_construct(
            run=call.run,
            action=call.action,
            parent=call.parent,
            task=call.task,
            phase=phase,
            attempt=call.attempt,
            at=time.time() if at is None else at,
            began=began,
            error=error,
            environment=environment,
        )
        self._some.set()

    def flush(self) -> None:
        """Send what there is now."""
        events, self._events = self._events, {}
        if events:
            # As bytes: Ray's own pickler asks Python about every object in them.
            actors.send(actors.CONTROLLER, "record", pickle.dumps(list(events.values())))

    def _send_forever(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(_INTERVAL_S)
            self._tell_who_waits()
            self.flush()

    def _tell_who_waits(self) -> None:
        overdue = time.time() - _QUEUED_S
        for attempt, (call, environment, since) in list(self._waiting.items()):
            if since > overdue:
                self._some.set()  # looked at again
            elif self._waiting.pop(attempt, None):
                self.add(call, ActionPhase.QUEUED, at=since, environment=environment)


def _attempt(call: Call) -> _Attempt:
    return call.run, call.action, call.attempt
