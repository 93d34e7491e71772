"""An attempt's state follows from the reports of it, whatever order they arrive in."""

from __future__ import annotations

from datetime import datetime, timezone

from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, AttemptInfo

_ORDER = {phase: number for number, phase in enumerate(ActionPhase)}


def is_kept(event: ActionEvent) -> bool:
    """Whether an attempt is recorded beside its action: of most actions the first one succeeds, and that tells all."""
    return event.attempt > 0 or (event.phase.is_terminal and event.phase is not ActionPhase.SUCCEEDED)


def after_attempt(known: AttemptInfo | None, event: ActionEvent, action: ActionInfo | None) -> AttemptInfo:
    """The state of an attempt after one more event; ``action`` is its action before, which may know when it began.

    The first end counts.
    """
    at = datetime.fromtimestamp(event.at, timezone.utc)
    began = event.at if event.began is None and event.phase is ActionPhase.RUNNING else event.began
    starts = [None if began is None else datetime.fromtimestamp(began, timezone.utc)]
    if known is not None:
        starts.append(known.started_at)
    if action is not None and event.attempt == 0 and action.attempts == 1:
        starts.append(action.started_at)
    told = AttemptInfo(
        run=event.run,
        action=event.action,
        attempt=event.attempt + 1,
        phase=event.phase,
        started_at=min((start for start in starts if start is not None), default=None),
        ended_at=at if event.phase.is_terminal else None,
        error=event.error if event.phase.is_terminal else None,
    )
    if known is None or (not known.phase.is_terminal and _ORDER[known.phase] <= _ORDER[told.phase]):
        return told
    return known.model_copy(update={"started_at": told.started_at})
