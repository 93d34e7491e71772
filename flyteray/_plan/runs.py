"""A filter says which of the recorded runs are asked for, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from pydantic import Field

from flyteray._declare.near import did_you_mean
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionPhase, RunInfo
from flyteray._plan.spec import Spec

SortedBy = Literal["created_at", "updated_at", "started_at", "ended_at", "name", "task", "phase"]


@dataclass(frozen=True)
class TimeFilter:
    """A span of time; one of its ends that has no time zone is in UTC.

    Args:
        after: From then on.
        before: Until then, and not at that moment itself.

    Raises:
        TypeError: an end that is no datetime.
    """

    after: datetime | None = None
    before: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("after", "before"):
            end = getattr(self, name)
            if end is not None and not isinstance(end, datetime):
                raise TypeError(f"TimeFilter: {name} must be a datetime, got {end!r}.")
            if end is not None and end.tzinfo is None:
                object.__setattr__(self, name, end.replace(tzinfo=timezone.utc))

    def has(self, time: datetime | None) -> bool:
        """Whether a moment is in it; None, for what has not happened, is in no span that has an end."""
        if time is None:
            return self.after is None and self.before is None
        return (self.after is None or self.after <= time) and (self.before is None or time < self.before)


ALWAYS = TimeFilter()


class RunFilter(Spec):
    """The runs of a task and of a version of it, in some phases, with some labels, from some time; by default all.

    ``label_keys`` are labels that must be there, whatever they say.
    """

    task: str | None = None
    version: str | None = None
    phases: tuple[ActionPhase, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    label_keys: tuple[str, ...] = ()
    created: TimeFilter = ALWAYS
    updated: TimeFilter = ALWAYS
    sorted_by: SortedBy = "created_at"
    descending: bool = True
    limit: int = 100

    @property
    def recorded_phases(self) -> set[ActionPhase]:
        """The phases as they are recorded: what a run waits for is known at the moment only.

        A run may be paused before its start was recorded: its question and its start are told in two ways.
        """
        recorded = {ActionPhase.QUEUED if phase in BEFORE_IT_BEGINS else phase for phase in self.phases}
        if ActionPhase.PAUSED in recorded:
            return recorded - {ActionPhase.PAUSED} | {ActionPhase.QUEUED, ActionPhase.RUNNING}
        return recorded

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether those are the labels of a run that is asked for."""
        there = all(labels.get(key) == value for key, value in self.labels.items())
        return there and all(key in labels for key in self.label_keys)

    def has_phase(self, run: RunInfo) -> bool:
        """Whether a run, as it is at the moment, is in one of the phases; ``queued`` is each before it begins."""
        before = ActionPhase.QUEUED in self.phases and run.phase in BEFORE_IT_BEGINS
        return not self.phases or before or run.phase in self.phases


def phases_of(given: ActionPhase | str | Iterable[ActionPhase | str] | None) -> tuple[ActionPhase, ...]:
    """One phase or several as they are given, by themselves or by name; none for None.

    Raises:
        ValueError: a word that is no phase.
    """
    if given is None:
        return ()
    words = (given,) if isinstance(given, str) else tuple(given)
    known = [str(phase) for phase in ActionPhase]
    for word in words:
        if str(word).lower() not in known:
            raise ValueError(
                f"There is no phase {str(word)!r}. The phases are {', '.join(known)}."
                f"{did_you_mean(str(word).lower(), known)}"
            )
    return tuple(ActionPhase(str(word).lower()) for word in words)


def order_of(given: tuple[str, str] | None, allowed: Iterable[str] = get_args(SortedBy)) -> tuple[Any, bool]:
    """The field that is sorted by, and whether the largest comes first, of ``(field, "asc" or "desc")``.

    Raises:
        ValueError: another field or direction.
    """
    if given is None:
        return "created_at", True
    fields = list(allowed)
    if not isinstance(given, (tuple, list)) or len(given) != 2 or given[1] not in ("asc", "desc"):
        raise ValueError(
            f'sort_by must be a field and "asc" or "desc", such as ("created_at", "desc"), got {given!r}.'
        )
    if given[0] not in fields:
        raise ValueError(f"sort_by: choose one of {', '.join(fields)}, not {given[0]!r}.")
    return given[0], given[1] == "desc"
