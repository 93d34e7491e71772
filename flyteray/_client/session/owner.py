"""The owner of what is started here: Flyte's project, domain and organisation, of which Ray has none."""

from __future__ import annotations

from typing import Literal

from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._declare.environment import without_meaning
from flyteray._declare.facts import Owner
from flyteray._settings import DOMAIN, ORG, PROJECT
from flyteray.errors import InitializationError


def current_project() -> str:
    """The project of the task or app that asks, else the one that ``init`` was told.

    Raises:
        InitializationError: nobody has named one; its ``code`` is ``ProjectNotInitializedError``.
    """
    return _current("project")


def current_domain() -> str:
    """The domain of the task or app that asks, else the one that ``init`` was told.

    Raises:
        InitializationError: nobody has named one; its ``code`` is ``DomainNotInitializedError``.
    """
    return _current("domain")


def is_control_plane_available() -> bool:
    """Whether there is a cluster to run on: in a task, whether it runs on one; elsewhere, whether one is named or runs.

    False does not keep ``flyteray.run`` from running: it starts a local cluster.
    """
    here = context.ctx()
    return here.mode != "local" if here else session().has_cluster()


def owner() -> Owner:
    """The owner of what is started here: as the task says that runs here, else as the app was told or ``init``."""
    action, settings = context.ctx().action, session().settings
    return Owner(
        project=(action.project if action else None) or settings.project,
        domain=(action.domain if action else None) or settings.domain,
        org=(action.org if action else None) or settings.org,
    )


def owner_variables() -> dict[str, str]:
    """The environment variables by which an app is told its owner."""
    here = owner()
    said = {PROJECT: here.project, DOMAIN: here.domain, ORG: here.org}
    return {name: value for name, value in said.items() if value is not None}


def without_projects(owner: str, project: str | None, domain: str | None) -> None:
    """Warn that a project and a domain change nothing, where they are given."""
    for option, value in {"project": project, "domain": domain}.items():
        if value is not None:
            without_meaning(owner, option)


def _current(what: Literal["project", "domain"]) -> str:
    said: str | None = getattr(owner(), what)
    if said is None:
        raise InitializationError(
            f"{what.capitalize()}NotInitializedError",
            "user",
            f"No {what} was named: say flyteray.init({what}=...), or name one in a configuration file (task.{what}) "
            "and call flyteray.init_from_config().",
        )
    return said
