"""What happens to actions, reported to the controller in batches, off the hot path."""

from __future__ import annotations

import pickle
import threading
import time

from flyteray._cluster import actors
from flyteray._plan.spec import ActionEvent, ActionPhase
from flyteray._tasks.call import Call

_INTERVAL_S = 0.5


class Recorder:
    """Collects events of this process and sends them from a thread of its own.

    What happens to an attempt while a batch is collected is told once: by its latest event, which says when it began.
    """

    def __init__(self) -> None:
        self._events: dict[tuple[str, str, int], ActionEvent] = {}
        self._some = threading.Event()
        threading.Thread(target=self._send_forever, name="flyteray-recorder", daemon=True).start()

    def add(
        self, call: Call, phase: ActionPhase, began: float | None = None, error: str | None = None
    ) -> None:
        """Note that an action has reached a phase just now; ``began`` is when its function was called, if it was."""
        # Trusted values on the hot path: validating them would cost more than sending them.
        self._events[call.run, call.action, call.attempt] = ActionEvent.model_construct(
            run=call.run,
            action=call.action,
            parent=call.parent,
            task=call.task,
            phase=phase,
            attempt=call.attempt,
            at=time.time(),
            began=began,
            error=error,
        )
        self._some.set()

    def flush(self) -> None:
        """Send what there is now."""
        events, self._events = self._events, {}
        if events:
            # As bytes: Ray's own pickler asks Python about every object in them.
            actors.find(actors.CONTROLLER).record.remote(pickle.dumps(list(events.values())))

    def _send_forever(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(_INTERVAL_S)
            self.flush()
