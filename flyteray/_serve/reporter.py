"""A replica reports to the controller: that it is ready, how it is, why it failed, that it stops."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ray

from flyteray._actors.controller import controller
from flyteray._actors.questions import send
from flyteray._plan.info import ErrorInfo, ReplicaInfo

logger = logging.getLogger(__name__)

_EVERY_S = 5.0  # a controller that was restarted knows its replicas again after this
_RETRY_S = 0.5
_ANSWER_S = 10.0
_LOOK_S = 0.5
_NOT_TOLD = object()


class Reporter:
    """Reports a ready replica, again and again, from a thread of its own, until it stops.

    The replica never waits for the controller: one that is down learns of the replica when it is back. ``working``,
    asked several times a second, tells whether the replica goes on with work that requests have left running.
    """

    def __init__(self, info: ReplicaInfo, working: Callable[[], bool] = lambda: False) -> None:
        self._info = info
        self._working = working
        self._at_most_s = math.inf
        self._stopping = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="flyteray-report", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def change(self, **changes: Any) -> None:
        """Report other values of some fields of the :class:`ReplicaInfo`, at once. Returns before it is done."""
        with self._news:
            self._info = self._info.model_copy(update=changes)
            self._news.notify()

    def stop(self) -> float:
        """Report that the replica stops and block until the controller knows, or for seconds if it is down.

        Returns the seconds that the replica may go on at most; endless where the controller sets no limit.
        """
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(_ANSWER_S)
        return self._at_most_s

    def _work(self) -> None:
        while not self._stopping:
            info = self._info
            told = _tell(controller().apps.replica_ready(info)) is not _NOT_TOLD
            until = time.monotonic() + (_EVERY_S if told else _RETRY_S)
            with self._news:
                while self._info is info and not self._stopping and (left := until - time.monotonic()) > 0:
                    self._news.wait(min(left, _LOOK_S))
                    self._look()
        at_most_s = _tell(controller().apps.replica_stopping(self._info.replica_id, self._info.version))
        if isinstance(at_most_s, float):
            self._at_most_s = at_most_s

    def _look(self) -> None:
        working = self._working()
        if working != self._info.working:
            self._info = self._info.model_copy(update={"working": working})


def report_failure(version: str, error: ErrorInfo) -> None:
    """Tell the controller why a replica of ``version`` did not come up; blocks until it knows."""
    _tell(controller().apps.replica_failed(version, error))


def report_part(version: str) -> None:
    """Tell the controller that a process of a deployment behind the replicas of ``version`` is up."""
    _tell(controller().apps.part_ready(version))


def _tell(told: Awaitable[Any]) -> Any:
    try:
        return ray.get(send(told), timeout=_ANSWER_S)
    except Exception:  # no answer, no controller, no cluster: all the same here, it is tried again
        logger.warning("The controller did not take %s.", told, exc_info=True)
        return _NOT_TOLD
