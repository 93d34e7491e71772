"""The phases that an action has gone through follow from when it was called and how its attempts went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from flyteray._plan.info import BEFORE_IT_BEGINS, ActionInfo, ActionPhase, AttemptInfo


class PhaseTransitionInfo(NamedTuple):
    """A phase of an action; ``end_time`` is None while it lasts, and for the one that it has ended in."""

    phase: ActionPhase
    start_time: datetime
    end_time: datetime | None


def transitions(
    action: ActionInfo, attempts: Sequence[AttemptInfo], only: int | None = None
) -> list[PhaseTransitionInfo]:
    """The phases of an action, of all its attempts or of one, by its number from 1."""
    found: list[PhaseTransitionInfo] = []
    asked = action.created_at
    for attempt in attempts:
        if only in (None, attempt.attempt):
            found += _of_attempt(action, attempt, asked)
        asked = attempt.ended_at
    return found


def durations(phases: Iterable[PhaseTransitionInfo], now: datetime) -> dict[ActionPhase, timedelta]:
    """How long an action was in each phase that has not ended it."""
    found: dict[ActionPhase, timedelta] = {}
    for each in phases:
        if not each.phase.is_terminal:
            took = max((each.end_time or now) - each.start_time, timedelta(0))
            found[each.phase] = found.get(each.phase, timedelta(0)) + took
    return found


def _of_attempt(
    action: ActionInfo, attempt: AttemptInfo, asked: datetime | None
) -> Iterator[PhaseTransitionInfo]:
    begun, ended = attempt.started_at, attempt.ended_at
    if asked is not None and attempt.phase is not ActionPhase.RECOVERED:
        is_last = attempt.attempt == action.attempts
        waits = action.phase if is_last and action.phase in BEFORE_IT_BEGINS else ActionPhase.QUEUED
        yield PhaseTransitionInfo(waits, asked, begun or ended)
    if begun is not None:
        yield PhaseTransitionInfo(_while_begun(attempt.phase), begun, ended)
    if ended is not None:
        yield PhaseTransitionInfo(attempt.phase, ended, None)


def _while_begun(phase: ActionPhase) -> ActionPhase:
    return ActionPhase.PAUSED if phase is ActionPhase.PAUSED else ActionPhase.RUNNING
