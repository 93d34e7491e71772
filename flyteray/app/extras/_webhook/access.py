"""Access lists say which tasks, apps and triggers a webhook lets through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request


@dataclass(frozen=True)
class Access:
    """The tasks, apps and triggers that a webhook lets through.

    Attributes:
        own_name: The webhook's own app.
        tasks: Tasks, as ``domain/project/name``, ``project/name`` or ``name``; None for all.
        apps: Apps by name; None for all.
        triggers: Triggers, as ``task/name`` or ``name``; None for all.
    """

    own_name: str
    tasks: Sequence[str] | None = None
    apps: Sequence[str] | None = None
    triggers: Sequence[str] | None = None

    def check_task(self, domain: str, project: str, name: str) -> None:
        """Refuse a task that is not listed (HTTPException 403)."""
        forms = {name, f"{project}/{name}", f"{domain}/{project}/{name}"}
        if self.tasks is not None and forms.isdisjoint(self.tasks):
            raise HTTPException(403, f"Task {domain}/{project}/{name} is not in the allowlist")

    def check_app(self, name: str, verb: str) -> None:
        """Refuse the webhook itself (HTTPException 400) and apps that are not listed (403)."""
        if name == self.own_name:
            raise HTTPException(400, f"Cannot {verb} self")
        if self.apps is not None and name not in self.apps:
            raise HTTPException(403, f"App {name} is not in the allowlist")

    def check_trigger(self, task: str, name: str) -> None:
        """Refuse a trigger that is not listed (HTTPException 403)."""
        if self.triggers is not None and {name, f"{task}/{name}"}.isdisjoint(self.triggers):
            raise HTTPException(403, f"Trigger {task}/{name} is not in the allowlist")


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


Allowed = Annotated[Access, Depends(_access)]
"""The argument by which a handler asks whether a name may be reached."""
