"""Differences between states of the ingress travel instead of whole states, which are a thousand times as large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flyteray._ingress.routes import IngressState


@dataclass(frozen=True)
class Difference:
    """What leads from one state to another.

    Attributes:
        put: What is new or another than before, by field: entries of a mapping, or members of a set.
        gone: What is not there any more, by field: keys or members.
    """

    put: Mapping[str, Any]
    gone: Mapping[str, frozenset[Any]]

    @classmethod
    def between(cls, old: IngressState, new: IngressState) -> Difference:
        """The difference of two states."""
        put: dict[str, Any] = {}
        gone: dict[str, frozenset[Any]] = {}
        for each in fields(IngressState):
            before, after = getattr(old, each.name), getattr(new, each.name)
            if before is after:
                continue
            more = (
                after - before
                if isinstance(after, frozenset)
                else {key: value for key, value in after.items() if key not in before or before[key] != value}
            )
            less = frozenset(key for key in before if key not in after)
            if more:
                put[each.name] = more
            if less:
                gone[each.name] = less
        return cls(put, gone)

    def __bool__(self) -> bool:
        return bool(self.put or self.gone)

    def applied_to(self, old: IngressState) -> IngressState:
        """The state that it leads to."""
        changed: dict[str, Any] = {}
        for name in {*self.put, *self.gone}:
            before, less = getattr(old, name), self.gone.get(name, frozenset())
            if isinstance(before, frozenset):
                changed[name] = (before - less) | self.put.get(name, frozenset())
            else:
                kept = {key: value for key, value in before.items() if key not in less} if less else before
                changed[name] = {**kept, **self.put.get(name, {})}
        return old.but(**changed)
