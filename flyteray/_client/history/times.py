"""The times of an action: how long it was in each phase, and how long it took."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from flyteray._plan.actions.phases import PhaseTransitionInfo, durations, transitions
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo


class ActionTimes:
    """The times of an action whose record and attempts are known."""

    info: ActionInfo
    attempt_list: list[AttemptInfo]

    def get_phase_transitions(self, attempt: int | None = None) -> list[PhaseTransitionInfo]:
        """The phases that it has gone through, each with when it began and ended.

        Ray does not tell when a node had room for an action and when its process was started, so both are part of
        ``queued``.

        Args:
            attempt: Of one attempt, counted from 1. Default: of all.

        Raises:
            ValueError: there was no such attempt.
        """
        if attempt is not None and attempt not in range(1, self.info.attempts + 1):
            raise ValueError(
                f"Action {self.info.action!r} of run {self.info.run!r} has no attempt {attempt!r}: it has had "
                f"{self.info.attempts}."
            )
        return transitions(self.info, self.attempt_list, attempt)

    @property
    def phase_durations(self) -> dict[ActionPhase, timedelta]:
        """How long it was in each phase that has not ended it, over all attempts."""
        return durations(self.get_phase_transitions(), datetime.now(timezone.utc))

    @property
    def queued_time(self) -> timedelta | None:
        """How long it waited to be run; None where that is not known."""
        return self.phase_durations.get(ActionPhase.QUEUED)

    @property
    def waiting_for_resources_time(self) -> timedelta | None:
        """How long it waited for room, where it does so now; else None, as that is part of :attr:`queued_time`."""
        return self.phase_durations.get(ActionPhase.WAITING_FOR_RESOURCES)

    @property
    def initializing_time(self) -> timedelta | None:
        """How long it waited for its image or process, where it does so now; else None, as above."""
        return self.phase_durations.get(ActionPhase.INITIALIZING)

    @property
    def running_time(self) -> timedelta | None:
        """How long its function ran; None where it has not begun."""
        return self.phase_durations.get(ActionPhase.RUNNING)

    @property
    def runtime(self) -> timedelta:
        """How long it took from its call to its end, or to now."""
        begun = self.info.created_at or self.info.started_at
        return (self.info.ended_at or datetime.now(timezone.utc)) - begun if begun else timedelta(0)
