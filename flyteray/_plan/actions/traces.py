"""The traces of an attempt are kept in storage, where those of earlier attempts are found."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from flyteray._declare.context import Outcome
from flyteray._declare.facts import ActionID
from flyteray._plan import failure
from flyteray._plan.actions.names import ActionNames
from flyteray._plan.info import ActionPhase, ErrorInfo
from flyteray._traces.spans import Span, begin
from flyteray.errors import BaseRuntimeError, ResultSerializationError
from flyteray.storage import Storage
from flyteray.storage.values import read_value, write_value

logger = logging.getLogger(__name__)


class TraceNote(NamedTuple):
    """A change in the life of a trace, for the records of its run: ``began`` in seconds since the epoch."""

    action: str
    parent: str
    name: str
    phase: ActionPhase
    began: float
    error: str | None = None


@dataclass(frozen=True)
class Traces:
    """The traces below one action.

    ``kept`` is the folder of the run, ``earlier`` those in which ends of the same calls may be found: of this run where
    it is not the first attempt, of the run that it recovers. ``note`` is told what happens.
    """

    action: ActionID
    names: ActionNames
    kept: Callable[[], Storage]
    earlier: Sequence[Callable[[], Storage]]
    note: Callable[[TraceNote], None]

    def begin(self, name: str, inputs: Mapping[str, object]) -> KeptTrace:
        """Begin a call of the traced function of this full name."""
        return KeptTrace(self, name, self.names.next(f"trace {name}", inputs))

    @functools.cached_property
    def storage(self) -> Storage:
        """The folder of the run, opened once it is needed."""
        return self.kept()


class _Kept(NamedTuple):
    """An :class:`Outcome` as it is in storage."""

    returned: Sequence[Any]
    error: ErrorInfo | None
    items: Sequence[Any]


class KeptTrace:
    """One call of a traced function, below the action that ``traces`` are of."""

    def __init__(self, traces: Traces, name: str, action: str) -> None:
        self._traces = traces
        self._name = name
        self._began = time.time()
        self._span: Span | None = None
        self._action = replace(traces.action, name=action)
        self._below = replace(traces, action=self._action, names=traces.names.below(action))

    @property
    def action(self) -> ActionID:
        """The action that it is."""
        return self._action

    @property
    def is_near(self) -> bool:
        """Whether its records are on a disk of this machine."""
        return self._traces.storage.is_local

    def current(self) -> AbstractContextManager[None]:
        """Have spans that begin in here be below its own, where there are any."""
        return nullcontext() if self._span is None else self._span.inside()

    def recorded(self) -> Outcome | None:
        """The end of the same call, as it was kept; a call that has none begins now."""
        for opened in self._traces.earlier:
            place = opened()
            try:
                kept: _Kept = read_value(place, self._key)
            except (FileNotFoundError, BaseRuntimeError):
                continue  # of a class that has changed since: it is called again
            if place.url != self._traces.storage.url:  # the run is to be whole without the other one
                write_value(self._traces.storage, self._key, kept)
            self._note(ActionPhase.SUCCEEDED if kept.error is None else ActionPhase.FAILED, kept.error)
            error = None if kept.error is None else _as_raised(kept.error)
            return Outcome(kept.returned, error, kept.items)
        self._note(ActionPhase.RUNNING)
        named = {"flyteray.run": self.action.run_name, "flyteray.action": self.action.name}
        self._span = begin(self._name, "internal", named)
        return None

    def keep(self, outcome: Outcome) -> None:
        """Keep how the call has ended; a value that can't be pickled is not kept, and a warning says so."""
        error = None if outcome.error is None else failure.describe(outcome.error)
        if self._span is not None:
            if error is not None:
                self._span.fail(error.summary, error)
            self._span.end()
        try:
            write_value(
                self._traces.storage, self._key, _Kept(outcome.returned, error, outcome.items), "value"
            )
        except ResultSerializationError as problem:
            logger.warning("%s will be called again where its task is: %s", self._name, problem)
        self._note(ActionPhase.SUCCEEDED if error is None else ActionPhase.FAILED, error)

    def trace(self, name: str, inputs: Mapping[str, object]) -> KeptTrace:
        """Begin a call of a traced function that this one calls."""
        return self._below.begin(name, inputs)

    @property
    def _key(self) -> str:
        return f"{self.action.name}/trace"

    def _note(self, phase: ActionPhase, error: ErrorInfo | None = None) -> None:
        self._traces.note(
            TraceNote(
                action=self.action.name,
                parent=self._traces.action.name,
                name=self._name,
                phase=phase,
                began=self._began,
                error=None if error is None else error.summary,
            )
        )


def trace_outputs(storage: Storage, run: str, action: str) -> tuple[Any, ...]:
    """The value that a trace has returned, as it is kept; FileNotFoundError where there is no such trace."""
    kept: _Kept = read_value(storage, f"runs/{run}/{action}/trace")
    return (list(kept.items),) if kept.items else tuple(kept.returned)


def _as_raised(info: ErrorInfo) -> Exception:
    """The error as the function raised it, where it can be unpickled here."""
    restored = failure.restore(info)
    cause = restored.__cause__
    return cause if isinstance(cause, Exception) and type(cause).__name__ == info.code else restored
