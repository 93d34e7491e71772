"""Single actions are aborted by the process that waits for them: it asks the controller which, while it waits."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray.errors import BaseRuntimeError, RunNotFoundError

_LISTEN_S = 20.0  # how long one question to the controller may wait
_AGAIN_S = 1.0

logger = logging.getLogger(__name__)

Abort = Callable[[str], object]
"""Aborts an attempt, for a reason."""


class Aborts:
    """The actions that this process waits for, and those of them that somebody wants aborted."""

    def __init__(self) -> None:
        self._awaited: dict[tuple[str, str], Abort] = {}
        self._ordered: dict[tuple[str, str], str] = {}
        self._runs: set[str] = set()  # that are listened for
        self._change = threading.Lock()

    def add(self, run: str, action: str, abort: Abort) -> None:
        """Take note that an attempt is waited for; :meth:`remove` must follow."""
        self._awaited[run, action] = abort
        if (reason := self._ordered.get((run, action))) is not None:  # of an earlier attempt
            abort(reason)

    def remove(self, run: str, action: str) -> None:
        """Take note that an attempt is waited for no longer."""
        self._awaited.pop((run, action), None)

    def listen(self, run: str) -> None:
        """Listen from now on to who wants actions of a run aborted, as long as some of it are waited for."""
        with self._change:
            if run in self._runs:
                return
            self._runs.add(run)
        threading.Thread(target=self._listen, args=(run,), name="flyteray-aborts", daemon=True).start()

    def _listen(self, run: str) -> None:
        seen: list[str] = []
        while self._goes_on(run):
            try:
                orders = ask(controller().runs.aborts(run, seen, _LISTEN_S))
            except RunNotFoundError:
                orders = {}
            except BaseRuntimeError as error:
                logger.warning("It is asked again which actions are to be aborted: %s", error)
                time.sleep(_AGAIN_S)
                continue
            for action, reason in orders.items():
                seen.append(action)
                self._ordered[run, action] = reason
                if (abort := self._awaited.get((run, action))) is not None:
                    abort(reason)

    def _goes_on(self, run: str) -> bool:
        with self._change:
            if any(of == run for of, _ in list(self._awaited)):
                return True
            self._runs.discard(run)
            return False


@functools.cache
def aborts() -> Aborts:
    """The aborts of this process."""
    return Aborts()
