"""What happens to actions, reported to the controller in batches, off the hot path."""

from __future__ import annotations

import threading
import time

from flyteray._cluster import actors
from flyteray._plan.spec import ActionEvent, ActionPhase
from flyteray._tasks.call import Call

_INTERVAL_S = 0.25


class Recorder:
    """Collects events of this process and sends them from a thread of its own."""

    def __init__(self) -> None:
        self._events: list[ActionEvent] = []
        self._some = threading.Event()
        threading.Thread(target=self._send_forever, name="flyteray-recorder", daemon=True).start()

    def add(self, call: Call, phase: ActionPhase, error: str | None = None) -> None:
        """Note that an action has reached a phase just now."""
        self._events.append(
            ActionEvent.model_construct(  # trusted values on the hot path: validating costs as much as the call
                run=call.run,
                action=call.action,
                parent=call.parent,
                task=call.task,
                phase=phase,
                attempt=call.attempt,
                at=time.time(),
                error=error,
            )
        )
        self._some.set()

    def flush(self) -> None:
        """Send what there is now."""
        events, self._events = self._events, []
        if events:
            actors.controller().record.remote(events)

    def _send_forever(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(_INTERVAL_S)
            self.flush()
