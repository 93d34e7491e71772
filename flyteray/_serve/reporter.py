"""What a replica tells the controller about itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import ray

from flyteray._cluster import actors
from flyteray._plan.info import ErrorInfo, ReplicaInfo

logger = logging.getLogger(__name__)

_EVERY_S = 5.0  # a controller that was restarted knows its replicas again after this
_RETRY_S = 0.5
_ANSWER_S = 10.0


class Reporter:
    """Reports a ready replica, again and again, from a thread of its own, until it stops.

    The replica never waits for the controller: one that is down learns of the replica when it is back.
    """

    def __init__(self, info: ReplicaInfo) -> None:
        self._info = info
        self._stopping = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="flyteray-report", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether anything was reported."""
        return self._thread.ident is not None

    def change(self, **changes: Any) -> None:
        """Report other values of some fields of the :class:`ReplicaInfo`, at once. Returns before it is done."""
        with self._news:
            self._info = self._info.model_copy(update=changes)
            self._news.notify()

    def stop(self) -> None:
        """Report that the replica stops and block until the controller knows, or for seconds if it is down."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self.started:
            self._thread.join(_ANSWER_S)

    def _work(self) -> None:
        while not self._stopping:
            info = self._info
            told = _tell("replica_ready", info)
            with self._news:
                self._news.wait_for(self._has_news_since(info), _EVERY_S if told else _RETRY_S)
        _tell("replica_stopping", self._info.replica_id)

    def _has_news_since(self, info: ReplicaInfo) -> Callable[[], bool]:
        return lambda: self._stopping or self._info is not info


def report_failure(version: str, error: ErrorInfo) -> None:
    """Tell the controller why a replica of ``version`` did not come up; blocks until it knows."""
    _tell("replica_failed", version, error)


def _tell(method: str, *args: Any) -> bool:
    try:
        ray.get(actors.send(actors.CONTROLLER, method, *args), timeout=_ANSWER_S)
    except Exception:  # no answer, no controller, no cluster: all the same here, it is tried again
        logger.warning("The controller did not take %s.", method, exc_info=True)
        return False
    return True
