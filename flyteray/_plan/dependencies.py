"""Environments are found: those that modules declare, and those that others depend on, in order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from flyteray._declare.environment import Environment


def declared_in(modules: Iterable[str]) -> Iterator[Environment]:
    """The environments that are names of loaded modules."""
    for name in modules:
        # A module's dict and its values' own types, not their attributes: what is lazy would load at a touch.
        for value in list(getattr(sys.modules.get(name), "__dict__", {}).values()):
            if issubclass(type(value), Environment):
                yield value


def with_dependencies(*envs: Environment) -> list[Environment]:
    """Environments and those that they depend on, directly or not, each once; the nearest come first."""
    found: list[Environment] = []
    queue = [*envs]
    while queue:
        current = queue.pop(0)
        if current not in found:
            found.append(current)
            queue.extend(current.depends_on)
    return found


def dependencies_first(env: Environment, *, circles: bool = True) -> list[Environment]:
    """An environment after all that it depends on, directly or not, each once.

    Where they depend on one another in a circle, the first that is met comes last; ValueError without ``circles``.
    """
    ordered: list[Environment] = []
    path: list[Environment] = []

    def visit(current: Environment) -> None:
        names = [each.name for each in path]
        if not circles and current.name in names:
            circle = " -> ".join([*names[names.index(current.name) :], current.name])
            raise ValueError(f"These environments depend on one another in a circle: {circle}.")
        if current in path or current in ordered:
            return
        path.append(current)
        for needed in current.depends_on:
            visit(needed)
        path.pop()
        ordered.append(current)

    visit(env)
    return ordered
