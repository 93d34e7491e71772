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
from flyteray._plan.info import ActionEvent, ActionPhase, ChildDone, ChildrenDone
from flyteray._plan.spec import EnvironmentSpec
from flyteray._tasks.call import Call
from flyteray._tasks.timeouts.aborts import aborts

logger = logging.getLogger(__name__)

_Attempt = tuple[str, str, int]

_INTERVAL_S = 0.5
_QUIET_S = 0.1
_QUEUED_S = 1.0
_DELIVER_S = 30.0  # a controller that died is back before, and a registry may be away for hours
_AGAIN_S = 0.05


class Note(NamedTuple):
    """An :class:`ActionEvent` before it is sent: most notes are overtaken before."""

    call: Call
    phase: ActionPhase
    at: float
    began: float | None
    error: str | None
    environment: EnvironmentSpec | None
    cached: str | None
    inputs: bytes | None

    def event(self) -> ActionEvent:
        # Trusted values: validating them would cost more than sending them.
        return ActionEvent.model_construct(
            run=self.call.run,
            action=self.call.action,
            parent=self.call.parent,
            group=self.call.group,
            task=self.call.task,
            phase=self.phase,
            attempt=self.call.attempt,
            at=self.at,
            began=self.began,
            error=self.error,
            environment=self.environment,
            called=self.call.called,
            cached=self.cached,
            inputs=self.inputs,
            links=dict(self.call.links),
        )


_Events = dict[_Attempt, Note]


class _Batch(NamedTuple):
    """What is sent at one time."""

    events: _Events
    done: list[ChildrenDone]


class Recorder:
    """Collects events of this process and sends them from a thread of its own: often, or once it is quiet for a moment.

    A batch has one event of an attempt: the latest, which says when it began. A child is reported as queued only where
    it is waited for after a while: its own worker reports the rest. Events that did not arrive are sent again.
    """

    def __init__(self) -> None:
        self._events: _Events = {}
        self._sent: dict[tuple[Any, ...], _Batch] = {}  # by what answers them
        self._waiting: dict[_Attempt, tuple[Call, EnvironmentSpec, float]] = {}
        self._done: list[ChildrenDone] = []
        self._change = threading.Lock()
        self._sending = threading.Lock()  # taken before the other one
        self._some = threading.Event()
        self._added = 0  # events so far
        self._pin: Any = None
        self._is_refused = False
        threading.Thread(target=self._send_forever, name="flyteray-recorder", daemon=True).start()

    def begin_wait(self, call: Call, environment: EnvironmentSpec) -> None:
        """Note that a child is to be run in an environment; :meth:`end_wait` must follow."""
        self._waiting[_attempt(call)] = (call, environment, time.time())
        self._tell()

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
        cached: str | None = None,
        inputs: bytes | None = None,
    ) -> None:
        """Note that an action has reached a phase, just now or ``at`` another time, in seconds since the epoch.

        ``began`` is when its function was called, if it was; ``environment`` is that of a queued action; ``cached`` is
        the run whose result it has; ``inputs`` are its pickled inputs, which are said once.
        """
        now = time.time() if at is None else at
        noted = Note(call, phase, now, began, error, environment, cached, inputs)
        attempt = _attempt(call)
        with self._change:
            self._events[attempt] = together(noted, self._events.get(attempt))
            self._added += 1
        self._tell()

    def _tell(self) -> None:
        """Tell the thread that sends that there is something; it looks after it has taken note of that."""
        if not self._some.is_set():
            self._some.set()

    def confirm(self, parent: Call, children: list[ChildDone]) -> None:
        """Have children that succeeded recorded: not every worker could tell."""
        if children:
            with self._change:
                self._done.append(ChildrenDone(parent.run, parent.action, children))
            self._tell()

    def flush(self) -> None:
        """Send the events that there are now; this can't fail."""
        with self._sending:
            with self._change:
                batch = _Batch(self._events, self._done)
                self._events, self._done = {}, []
            if not batch.events and not batch.done:
                return
            try:
                # As bytes: Ray's own pickler asks Python about every object in them.
                data = pickle.dumps([noted.event() for noted in batch.events.values()])
                runs = controller().runs
                refs = [send(runs.record(data))] if batch.events else []
                refs += [send(runs.confirm(pickle.dumps(each))) for each in batch.done]
                self._sent[tuple(refs)] = batch
            except Exception as error:  # noqa: BLE001  # whatever it is, no event may be lost
                self._refused(error)
                self._restore(batch)
        self._some.set()  # it is seen later whether it has arrived

    def deliver(self, parent: Call) -> None:
        """Wait until the controller knows all that is noted of what an action has called.

        Nobody looks at what it has called again once its outputs are kept, and its process may die then. Where the
        controller stays away, this ends after half a minute, and what is left is sent on as ever.
        """
        until = time.monotonic() + _DELIVER_S
        while self._owes(parent) and time.monotonic() < until:
            self.flush()
            self._settle(until)
            if self._owes(parent):
                time.sleep(_AGAIN_S)  # the controller is away

    def _owes(self, parent: Call) -> bool:
        """Whether something that an action has called is noted, and is not known to have arrived."""
        place = (parent.run, parent.action)
        with self._sending, self._change:
            return any(
                any((noted.call.run, noted.call.parent) == place for noted in batch.events.values())
                or any((done.run, done.parent) == place for done in batch.done)
                for batch in (_Batch(self._events, self._done), *self._sent.values())
            )

    def _send_forever(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            self._stay()
            self._collect()
            self._add_overdue_waits()
            self.flush()
            self._settle()
            if self._sent:
                self._some.set()
            if not self._some.is_set():
                self._pin = None

    def _stay(self) -> None:
        """Own something, so that Ray does not end this process as idle."""
        try:
            self._pin = self._pin or ray.put(b"")
        except Exception:
            logger.exception("This process may be ended before it has told of its actions")

    def _collect(self) -> None:
        """Let events come in, as long as there are more of them."""
        until, added = time.monotonic() + _INTERVAL_S, -1
        while added != self._added and time.monotonic() < until:
            added = self._added
            time.sleep(_QUIET_S)

    def _settle(self, until: float = 0.0) -> None:
        """Forget what was sent and has arrived, take back what could not; the rest is waited for until that time."""
        for answers, batch in list(self._sent.items()):
            refs = list(answers)
            try:
                left = max(0.0, until - time.monotonic())
                if ray.wait(refs, num_returns=len(refs), timeout=left)[1]:
                    continue
                ray.get(refs)
                self._is_refused = False
            except Exception as error:  # noqa: BLE001  # whatever it is, no event may be lost
                self._refused(error)
                self._restore(batch)
            with self._change:
                self._sent.pop(answers, None)

    def _refused(self, error: Exception) -> None:
        """Say once, in what is the log of a task as well, that events wait."""
        if not self._is_refused:
            why = str(error).partition("\n")[0]
            logger.warning("What happens to actions can't be recorded now; it is sent again. %s", why)
        self._is_refused = True

    def _restore(self, batch: _Batch) -> None:
        with self._change:
            for attempt, noted in batch.events.items():
                self._events[attempt] = together(noted, self._events.get(attempt))
            self._done += batch.done
        self._some.set()

    def _add_overdue_waits(self) -> None:
        overdue = time.time() - _QUEUED_S
        for attempt, (call, environment, since) in list(self._waiting.items()):
            if since > overdue:
                self._some.set()  # looked at again
            elif self._waiting.pop(attempt, None):
                self.add(call, ActionPhase.QUEUED, at=since, environment=environment)
                aborts().listen(call.run)


def together(one: Note, other: Note | None) -> Note:
    """Of two notes on an attempt, which may come back in any order, the end or else the later; its inputs of either."""
    if other is None:
        return one
    is_one = (one.phase.is_terminal, one.at) >= (other.phase.is_terminal, other.at)
    counts, overtaken = (one, other) if is_one else (other, one)
    return counts if overtaken.inputs is None else counts._replace(inputs=one.inputs or other.inputs)


def _attempt(call: Call) -> _Attempt:
    return call.run, call.action, call.attempt
