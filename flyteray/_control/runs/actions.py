"""An action's state follows from the reports of it, whatever order they arrive in."""

from __future__ import annotations

from datetime import datetime, timezone

from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase

_ORDER = {phase: number for number, phase in enumerate(ActionPhase)}


def after(known: ActionInfo | None, event: ActionEvent) -> ActionInfo:
    """The state of an action after one more event.

    A later attempt supersedes an earlier one, also its failure; within an attempt a later phase does. Success and
    abortion are final. Of two ends that exclude each other, the one that happened first counts.
    """
    at = datetime.fromtimestamp(event.at, timezone.utc)
    began = event.at if event.began is None and event.phase is ActionPhase.RUNNING else event.began
    told = ActionInfo(
        run=event.run,
        action=event.action,
        parent=event.parent,
        task=event.task,
        phase=event.phase,
        attempts=event.attempt + 1,
        started_at=None if began is None else datetime.fromtimestamp(began, timezone.utc),
        ended_at=at if event.phase.is_terminal else None,
        error=event.error if event.phase.is_terminal else None,
    )
    if known is None:
        return told
    standing = max(known, told, key=_standing)
    starts = [start for start in (known.started_at, told.started_at) if start is not None]
    return standing.model_copy(
        update={"attempts": max(known.attempts, told.attempts), "started_at": min(starts, default=None)}
    )


def _standing(info: ActionInfo) -> tuple[bool, int, int, float, str, str]:
    final = info.phase in (ActionPhase.SUCCEEDED, ActionPhase.ABORTED)
    return (
        final,
        0 if final else info.attempts,
        0 if final else _ORDER[info.phase],
        -info.ended_at.timestamp() if info.ended_at else 0.0,
        info.phase.value,
        info.error or "",
    )
