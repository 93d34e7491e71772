"""The tree of a run: its actions below those that have called them, many of one kind as one branch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import Field

from flyteray._plan.info import ActionInfo, ActionPhase
from flyteray._plan.spec import Spec

_FEW = 5  # actions that are shown one by one below a branch of many
_ENDED_BADLY = (ActionPhase.FAILED, ActionPhase.TIMED_OUT)
MATTER = (*_ENDED_BADLY, ActionPhase.RUNNING, ActionPhase.PAUSED)
"""Phases of actions that are looked at one by one."""


class Kind(Spec):
    """The actions of a run that count as one kind: of one caller, group and task. ``number`` are in this phase.

    ``cached`` tells those whose result was there already.
    """

    parent: str | None
    group: str | None
    task: str
    phase: ActionPhase
    cached: bool
    number: int


class Census(Spec):
    """How many actions of each kind a run has, and those of them that are told one by one, the root first."""

    kinds: tuple[Kind, ...]
    actions: tuple[ActionInfo, ...]


class Branch(Spec):
    """An action, or where ``action`` is None several of one kind, with what they have called.

    ``phases`` tells how many are in which phase, ``cached`` of how many the result was there already. ``line`` is the
    last one that the action has written.
    """

    task: str
    group: str | None = None
    action: str | None = None
    phases: dict[str, int] = Field(default_factory=dict)
    cached: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    line: str | None = None
    children: tuple[Branch, ...] = ()

    @property
    def number(self) -> int:
        """How many actions it stands for."""
        return sum(self.phases.values())


def grown(census: Census, lines: Mapping[str, str]) -> Branch | None:
    """The tree of a run, with the last line of each action; None where nothing of it has begun yet."""
    return _Tree(census, lines).root()


class _Tree:
    def __init__(self, census: Census, lines: Mapping[str, str]) -> None:
        self._lines = lines
        self._actions = census.actions
        self._kinds: defaultdict[str | None, list[Kind]] = defaultdict(list)
        for kind in census.kinds:
            self._kinds[kind.parent].append(kind)
        self._told: defaultdict[tuple[str | None, str | None, str], list[ActionInfo]] = defaultdict(list)
        for action in census.actions:
            self._told[action.parent, action.group, action.task].append(action)

    def root(self) -> Branch | None:
        found = [action for action in self._actions if action.parent is None]
        return self._one(found[0]) if found else None

    def _one(self, action: ActionInfo) -> Branch:
        return Branch(
            task=action.task,
            group=action.group,
            action=action.action,
            phases={str(action.phase): 1},
            cached=int(action.cached is not None),
            started_at=action.started_at,
            ended_at=action.ended_at,
            error=action.error,
            line=self._lines.get(action.action),
            children=tuple(self._below(action.action)),
        )

    def _below(self, parent: str) -> Iterator[Branch]:
        alike: defaultdict[tuple[str | None, str], list[Kind]] = defaultdict(list)
        for kind in self._kinds[parent]:
            alike[kind.group, kind.task].append(kind)
        for (group, task), kinds in alike.items():
            told = self._told[parent, group, task]
            if len(told) == sum(kind.number for kind in kinds) <= _FEW and group is None:
                yield from map(self._one, told)
            else:
                yield self._many(group, task, kinds, told)

    def _many(
        self, group: str | None, task: str, kinds: Sequence[Kind], told: Iterable[ActionInfo]
    ) -> Branch:
        phases: defaultdict[str, int] = defaultdict(int)
        for kind in kinds:
            phases[str(kind.phase)] += kind.number
        shown = [each for each in told if each.phase in MATTER or self._kinds.get(each.action)]
        shown.sort(key=lambda each: each.phase not in _ENDED_BADLY)
        return Branch(
            task=task,
            group=group,
            phases=dict(phases),
            cached=sum(kind.number for kind in kinds if kind.cached),
            children=tuple(self._one(each) for each in shown[:_FEW]),
        )
