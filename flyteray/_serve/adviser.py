"""An adviser asks the user's scaling policy in a replica, for what the controller knows of its version's traffic."""

from __future__ import annotations

import sys
import threading

import ray

from flyteray._actors.controller import controller
from flyteray._actors.questions import send
from flyteray._plan.traffic.advice import Advice, asked
from flyteray.app.scaling import Policy

_EVERY_S = 1.0
_ANSWER_S = 10.0


class Adviser:
    """Asks a policy once a second, in a thread of its own, for as long as the replica is the one that is to ask.

    What the policy raises is shown once in the app's log, until it raises another thing. A controller that is down is
    told later.
    """

    def __init__(self, policy: Policy, replica_id: str, version: str) -> None:
        self._policy = policy
        self._of = replica_id, version
        self._shown: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flyteray-policy", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, when the policy lets it."""
        self._stopped.set()

    def _work(self) -> None:
        advice: Advice | None = None
        while not self._stopped.wait(_EVERY_S):
            try:
                signals = ray.get(send(controller().apps.advise(*self._of, advice)), timeout=_ANSWER_S)
            except Exception:  # noqa: BLE001  # the controller is restarting
                continue
            advice = None
            if signals is not None and not self._stopped.is_set():
                advice, raised = asked(self._policy, signals)
                self._show(raised)

    def _show(self, raised: str | None) -> None:
        if raised is not None and raised != self._shown:
            print(f"The scaling policy failed:\n{raised}", file=sys.stderr, end="", flush=True)
        self._shown = raised
