"""A recorder reports to the controller what happens to actions, in batches, off the hot path."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from typing import Any, NamedTuple

import ray

from flyteray._actors.controller import controller
from flyteray._actors.questions import send
from flyteray._plan.info import ActionEvent, ActionPhase
from flyteray._plan.spec import EnvironmentSpec
from flyteray._tasks.call import Call

logger = logging.getLogger(__name__)

_Attempt = tuple[str, str, int]

_INTERVAL_S = 0.5
_QUEUED_S = 1.0


class _Note(NamedTuple):
    """An :class:`ActionEvent` before it is sent: most notes are overtaken before."""

    call: Call
    phase: ActionPhase
    at: float
    began: float | None
    error: str | None
    environment: EnvironmentSpec | None

    def event(self) -> ActionEvent:
        # Trusted values: validating them would cost more than sending them.
        return ActionEvent.model_construct(
            run=self.call.run,
            action=self.call.action,
            parent=self.call.parent,
            task=self.call.task,
            phase=self.phase,
            attempt=self.call.attempt,
            at=self.at,
            began=self.began,
            error=self.error,
            environment=self.environment,
        )


_Events = dict[_Attempt, _Note]


class Recorder:
    """Collects events of this process and sends them from a thread of its own.

    A batch has one event of an attempt: the latest, which says when it began. A child is reported as queued only where
    it is waited for after a while: its own worker reports the rest. Events that did not arrive are sent again.
    """

    def __init__(self) -> None:
        self._events: _Events = {}
        self._sent: list[tuple[Any, _Events]] = []
        self._waiting: dict[_Attempt, tuple[Call, EnvironmentSpec, float]] = {}
        self._some = threading.Event()
        threading.Thread(target=self._send_forever, name="flyteray-recorder", daemon=True).start()

    def begin_wait(self, call: Call, environment: EnvironmentSpec) -> None:
        """Note that a child is to be run in an environment; :meth:`end_wait` must follow."""
        self._waiting[_attempt(call)] = (call, environment, time.time())
        self._some.set()

    def end_wait(self, call: Call) -> None:
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
        """Note that an action has reached a phase, just now or ``at`` another time, in seconds since the epoch.

        ``began`` is when its function was called, if it was; ``environment`` is that of a queued action.
        """
        now = time.time() if at is None else at
        self._events[_attempt(call)] = _Note(call, phase, now, began, error, environment)
        self._some.set()

    def flush(self) -> None:
        """Send the events that there are now; this can't fail."""
        events, self._events = self._events, {}
        if not events:
            return
        try:
            # As bytes: Ray's own pickler asks Python about every object in them.
            data = pickle.dumps([noted.event() for noted in events.values()])
            self._sent.append((send(controller().runs.record(data)), events))
        except Exception:
            logger.exception("Events of actions could not be sent; it is tried again")
            self._restore(events)
        self._some.set()  # it is seen later whether it has arrived

    def _send_forever(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(_INTERVAL_S)
            self._add_overdue_waits()
            self.flush()
            self._resend_lost()

    def _resend_lost(self) -> None:
        for batch in list(self._sent):
            ref, events = batch
            try:
                if ray.wait([ref], timeout=0)[0]:
                    self._sent.remove(batch)
                    ray.get(ref)
            except Exception:
                logger.exception("Events of actions were not taken in; they are sent again")
                self._restore(events)
        if self._sent:
            self._some.set()

    def _restore(self, events: _Events) -> None:
        for attempt, noted in events.items():
            self._events.setdefault(attempt, noted)  # what has happened since is the later word
        self._some.set()

    def _add_overdue_waits(self) -> None:
        overdue = time.time() - _QUEUED_S
        for attempt, (call, environment, since) in list(self._waiting.items()):
            if since > overdue:
                self._some.set()  # looked at again
            elif self._waiting.pop(attempt, None):
                self.add(call, ActionPhase.QUEUED, at=since, environment=environment)


def _attempt(call: Call) -> _Attempt:
    return call.run, call.action, call.attempt
