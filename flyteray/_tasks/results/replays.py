"""A replay takes the outputs of an action from an earlier attempt of its caller, or from the run that is recovered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from flyteray._plan.info import ActionPhase
from flyteray._plan.values.kept_outputs import KeptOutputs
from flyteray._tasks.call import Call
from flyteray.errors import BaseRuntimeError

_DONE = ActionPhase.SUCCEEDED


class Replayed(NamedTuple):
    """The outputs of an action that need not run, and the phase that it is in for that."""

    outputs: tuple[Any, ...]
    phase: ActionPhase


class Replays:
    """The outputs that the children of an attempt have left in storage, at ``root``, before it began.

    Attributes:
        runs: The runs that are looked in.
        resumed: Whether the attempt, or one above it, is not the first one.
    """

    def __init__(self, root: str, parent: Call) -> None:
        wide = parent.inherited
        self._again = frozenset(wide.again)
        self.runs: list[str] = []
        self.resumed = bool(parent.attempt or wide.resumed)
        self._kept = KeptOutputs(root, parent.run)
        self._places: list[tuple[KeptOutputs, ActionPhase]] = []
        if self.resumed:
            self.runs.append(parent.run)
            self._places.append((self._kept, _DONE))
        if wide.recovers is not None:
            self.runs.append(wide.recovers)
            self._places.append((KeptOutputs(root, wide.recovers), ActionPhase.RECOVERED))

    @property
    def some(self) -> bool:
        """Whether there can be any: a run that goes straight through never looks."""
        return bool(self.runs)

    def find(self, action: str) -> Replayed | None:
        """The outputs of an action that has succeeded before; None where it has not, or they can't be read any more."""
        for place, phase in self._asked(action):
            try:
                outputs = place.read(action)
            except (FileNotFoundError, BaseRuntimeError):
                continue  # a class that has changed since is a reason to run it anew
            if phase is ActionPhase.RECOVERED:  # this run is to be whole without the other one
                self._kept.write(action, outputs)
            return Replayed(outputs, phase)
        return None

    def left(self, action: str) -> Replayed | None:
        """The outputs of an action whose worker was lost behind them; None where it was lost before."""
        try:
            return Replayed(self._kept.read(action), _DONE)
        except (FileNotFoundError, BaseRuntimeError):
            return None

    def _asked(self, action: str) -> Iterable[tuple[KeptOutputs, ActionPhase]]:
        for place, phase in self._places:
            if phase is not ActionPhase.RECOVERED or action not in self._again:
                yield place, phase
