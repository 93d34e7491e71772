"""HAProxy's predecessors, processes that a reload has left behind, are led and counted until their last connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flyteray._ingress.changes import changes
from flyteray._ingress.haproxy import process
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.routes import IngressState

T = TypeVar("T")


class Predecessors:
    """The processes of a directory's HAProxy that a reload has left behind.

    Such a process takes no connection any more. Each that is open may bring one more request, which must not be led by
    what was true at the reload: maps still follow, while replicas can't change any more.

    Attributes:
        are_expected: Whether there is a reload.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[int, tuple[IngressState, int]] | None = None  # None: nobody has looked
        self.are_expected = False

    def expect(self) -> None:
        """Count on a reload, from now until :meth:`look`."""
        self.are_expected = True

    def look(self) -> None:
        """Look for them again: there was a reload."""
        self._known = self._known or None
        self.are_expected = False

    def left(self, pid: int, state: IngressState, backends: int) -> None:
        """Know that a process with so many backends has been left behind, which does what the state says."""
        self._known = {**(self._known or {}), pid: (state, backends)}

    def are_none(self) -> bool:
        """Whether there is none, for sure."""
        return self._known == {} and not self.are_expected

    def lead_to(self, state: IngressState) -> None:
        """Lead those that are left to a state, as far as that is possible; while a reload is expected, none.

        Raises:
            OSError: HAProxy is starting.
            CommandRefusedError: one does not do what it is told.
        """
        if self.are_expected or self.are_none():
            return
        known = self._known or {}
        self._known = None
        self._known = self.ask(lambda pid, haproxy: self._lead(haproxy, known.get(pid), state))

    def ask(self, question: Callable[[int, Conversation], T]) -> dict[int, T]:
        """The answers of those that are left, by process."""
        answers = {}
        for pid in [] if self.are_none() else process.old_workers(self._directory):
            try:
                with Conversation(self._directory, old=pid) as haproxy:
                    answers[pid] = question(pid, haproxy)
            except OSError:
                if pid in process.old_workers(self._directory):
                    raise
        return answers

    def _lead(
        self, haproxy: Conversation, known: tuple[IngressState, int] | None, state: IngressState
    ) -> tuple[IngressState, int]:
        before, backends = known or (haproxy.state(), haproxy.backends())
        after = state.left_to(before, backends)
        haproxy.tell(changes(before, after))
        return after, backends
