"""What the caller belongs to, and whether there is a cluster to ask."""

from __future__ import annotations

from typing import Literal

from flyteray._client.session import session
from flyteray._declare import context
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


def _current(what: Literal["project", "domain"]) -> str:
    action = context.ctx().action
    said: str | None = (getattr(action, what) if action else None) or getattr(session().settings, what)
    if said is None:
        raise InitializationError(
            f"No {what} was named: say flyteray.init({what}=...), or name one in a configuration file (task.{what}) "
            "and call flyteray.init_from_config().",
            code=f"{what.capitalize()}NotInitializedError",
        )
    return said
