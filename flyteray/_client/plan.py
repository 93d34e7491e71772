"""Plans of apps and runs: an app that is ready to be served anywhere, and the handles that dry runs give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn

from flyteray._client.apps.handle import EphemeralHandle
from flyteray._client.bridge import MethodVerb
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.info import AppPhase
from flyteray._plan.spec import AppSpec, TaskSpec
from flyteray.errors import DeploymentError, RuntimeUserError


@dataclass(frozen=True)
class AppPlan:
    """An app version, its code, and the Python values that it is given as they are."""

    spec: AppSpec
    bundle: Bundle
    objects: Mapping[str, Any] = field(default_factory=dict)


class PlannedApp(EphemeralHandle):
    """The handle that ``dry_run=True`` gives instead of a running app; ``plan`` is what would have been served.

    The app is last in it, after those that it depends on.
    """

    url = endpoint = ""
    revision = 0
    deployment_status = AppPhase.STOPPED
    desired_state: ClassVar[Literal["active", "stopped"]] = "stopped"

    def __init__(self, plans: Sequence[AppPlan]) -> None:
        self.plan = tuple(each.spec for each in plans)
        self.name = self.plan[-1].name

    def is_active(self) -> bool:
        """Always false."""
        return False

    def is_deactivated(self) -> bool:
        """Always true."""
        return True

    async def _refuse(self, /, *_: object, **__: object) -> NoReturn:
        """Raise DeploymentError: there is nothing to do it with."""
        raise DeploymentError(f"App {self.name!r} was planned only: serve it without dry_run.")

    activate = deactivate = wait = watch = show_logs = MethodVerb(_refuse)

    def __repr__(self) -> str:
        return f"PlannedApp(name={self.name!r})"


@dataclass(frozen=True)
class PlannedRun:
    """The handle that ``dry_run=True`` gives instead of a run; ``plan`` is the task as the cluster would see it."""

    name: str
    plan: TaskSpec
    url: str = ""

    def done(self) -> bool:
        """Always false."""
        return False

    async def _refuse(self, /, *_: object, **__: object) -> NoReturn:
        """Raise RuntimeUserError: there is nothing to do it with."""
        raise RuntimeUserError(
            "RunPlannedOnly", f"Run {self.name!r} was planned only: run it without dry_run."
        )

    wait = outputs = raise_for_status = abort = actions = MethodVerb(_refuse)
