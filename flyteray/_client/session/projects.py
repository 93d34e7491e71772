"""Flyte's projects and domains, of which Ray has none."""

from __future__ import annotations

from flyteray._declare.environment import without_meaning


def without_projects(owner: str, project: str | None, domain: str | None) -> None:
    """Say of those that are given that they change nothing."""
    for option, value in {"project": project, "domain": domain}.items():
        if value is not None:
            without_meaning(owner, option)
