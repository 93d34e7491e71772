"""The patience of whoever waits for an action: for how long attempts may wait for their start, and all of them take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._machine.alarms import alarms
from flyteray._plan.actions.limits import Expiry, limits_of
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import TaskSpec
from flyteray._tasks.call import Call
from flyteray._tasks.timeouts.aborts import aborts
from flyteray.errors import ActionAbortedError, BaseRuntimeError, TaskInterruptedError, TaskTimeoutError


class Patience:
    """The limits of one action over its attempts, from now on.

    An attempt that runs is ended by its own worker. One that has not begun is given up here, and a worker that died is
    asked about: it may have been killed because its code did not end.
    """

    def __init__(self, task: TaskSpec) -> None:
        self._task = task.name
        self._timeout = task.timeout
        self._limits = limits_of(task.timeout, time.time())
        self._given_up: dict[int, BaseRuntimeError] = {}

    @property
    def limits(self) -> tuple[Any, ...]:
        """The fields of the :class:`Limits` that its calls travel with; nothing where there are none."""
        return tuple(self._limits) if any(self._limits) else ()

    @contextlib.contextmanager
    def waiting(self, call: Call, cancel: Callable[[], object]) -> Iterator[None]:
        """Wait in here for an attempt that was submitted just now.

        It is cancelled where it does not begin in time, and where somebody wants the action aborted.
        """

        def abort(reason: str) -> None:
            message = (
                f"Action {call.action!r} of run {call.run!r}, a call of {self._task!r}, was aborted: {reason}"
            )
            self._given_up[call.attempt] = ActionAbortedError(message)
            cancel()

        aborts().add(call.run, call.action, abort)
        try:
            with self._beginning(call, cancel):
                yield
        finally:
            aborts().remove(call.run, call.action)

    def _beginning(self, call: Call, cancel: Callable[[], object]) -> AbstractContextManager[None]:
        submitted = time.time()
        expiry = self._limits.of_waiting(self._task, self._timeout.max_queued_s, submitted)
        return nullcontext() if expiry is None else self._beginning_until(expiry, submitted, call, cancel)

    @contextlib.contextmanager
    def _beginning_until(
        self, expiry: Expiry, submitted: float, call: Call, cancel: Callable[[], object]
    ) -> Iterator[None]:

        def look() -> None:
            if ask(controller().runs.began(call.run, call.action, call.attempt)) is None:
                self._given_up[call.attempt] = expiry.error
                cancel()

        alarm = alarms().after(expiry.at - submitted, look)
        try:
            yield
        finally:
            alarm.cancel()

    def has_to_ask(self, error: BaseException) -> bool:
        """Whether it takes :meth:`Runs.began` to know if an error comes of a limit."""
        limited = self._limits.max_runtime_s is not None or self._limits.ends_at is not None
        return limited and isinstance(error, TaskInterruptedError)

    def explained(self, error: BaseRuntimeError, attempt: int, began: float | None) -> BaseRuntimeError:
        """The timeout or abort that is behind the error of an attempt, which ``began`` then; else the error itself."""
        given_up = self._given_up.get(attempt)
        if given_up is not None:
            return given_up
        if began is not None and self.has_to_ask(error):
            expiry = self._limits.of_running(self._task, began)
            if expiry is not None and expiry.at <= time.time():
                return expiry.error
        return error

    def checked_pause(self, pause: float, error: BaseRuntimeError) -> float:
        """The pause before the next attempt; DeadlineExceededError where the time is up before that begins."""
        return self._limits.checked_pause(self._task, pause, time.time(), error)


def phase_of(shown: BaseRuntimeError, told: BaseRuntimeError) -> ActionPhase:
    """The phase of an attempt that ended with an error, which :meth:`Patience.explained` gave for what was ``told``."""
    if isinstance(shown, ActionAbortedError):
        return ActionPhase.ABORTED
    given_up = shown is not told and isinstance(shown, TaskTimeoutError)
    return ActionPhase.TIMED_OUT if given_up else ActionPhase.FAILED
