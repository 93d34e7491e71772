"""An action's state follows from the reports of it, whatever order they arrive in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TypeVar

from flyteray._plan.actions.tree import Kind
from flyteray._plan.info import ActionEvent, ActionInfo, ActionPhase, AttemptInfo, RunInfo

Info = TypeVar("Info", ActionInfo, AttemptInfo)

_SETTLE = timedelta(seconds=5)  # for the reports of workers, which may come after that of the run's end
_FINAL = {ActionPhase.ABORTED: 1, ActionPhase.SUCCEEDED: 2, ActionPhase.RECOVERED: 2}
_ORDER = {phase: number for number, phase in enumerate(ActionPhase)}


def after(known: ActionInfo | None, event: ActionEvent) -> ActionInfo:
    """The state of an action after one more event.

    A later attempt supersedes an earlier one, also its failure; within an attempt a later phase does. Abortion is
    final, but for success, whose outputs are kept: a caller that began again calls what was cut off with it again. Of
    two ends of one kind the one that happened first counts.
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
        group=event.group,
        links=event.links,
        created_at=None if event.called is None else datetime.fromtimestamp(event.called, timezone.utc),
        cached=event.cached,
    )
    if known is None:
        return told
    standing = max(known, told, key=_standing)
    return standing.model_copy(
        update={
            "links": known.links or told.links,
            "attempts": max(known.attempts, told.attempts),
            "started_at": _first(known.started_at, told.started_at),
            "created_at": _first(known.created_at, told.created_at),
        }
    )


def _first(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def of_one_call(info: Info) -> Info:
    """A state without its start, where that is later than its end: a caller that began again has called it again."""
    if info.started_at is None or info.ended_at is None or info.started_at <= info.ended_at:
        return info
    return info.model_copy(update={"started_at": None})


def as_of(run: RunInfo, action: ActionInfo, at: datetime) -> ActionInfo:
    """An action as it is now that its run is so: with a run all its actions end, and not every worker can say so."""
    action = of_one_call(action)
    if action.parent is None and action.created_at is None:
        action = action.model_copy(update={"created_at": run.created_at})
    ended = run.ended_at
    if action.phase.is_terminal or not run.phase.is_terminal or ended is None:
        return action
    if action.parent is None:
        error = run.error.summary if run.error else None
        return action.model_copy(update={"phase": run.phase, "ended_at": ended, "error": error})
    if run.phase is not ActionPhase.ABORTED and at - ended < _SETTLE:
        return action
    told = {"phase": ActionPhase.ABORTED, "ended_at": ended, "error": "It ended with its run."}
    return action.model_copy(update=told)


def kind_as_of(run: RunInfo, kind: Kind) -> Kind:
    """A kind of actions as it is now that its run is so, as :func:`as_of`."""
    if kind.phase.is_terminal or not run.phase.is_terminal:
        return kind
    return kind.model_copy(update={"phase": run.phase if kind.parent is None else ActionPhase.ABORTED})


def _standing(info: ActionInfo) -> tuple[int, int, int, float, str, str]:
    final = _FINAL.get(info.phase, 0)
    return (
        final,
        0 if final else info.attempts,
        0 if final else _ORDER[info.phase],
        -info.ended_at.timestamp() if info.ended_at else 0.0,
        info.phase.value,
        info.error or "",
    )
