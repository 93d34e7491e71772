"""What is planned: apps that are ready to be served anywhere, and what dry runs give in place of a handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from flyteray._client.apps.handle import Ephemeral
from flyteray._client.bridge import MethodVerb
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.info import AppPhase
from flyteray._plan.spec import AppSpec, TaskSpec
from flyteray.errors import DeploymentError, RuntimeUserError


@dataclass(frozen=True)
class Planned:
    """An app version, its code, and the Python values that it is given as they are."""

    spec: AppSpec
    bundle: Bundle
    objects: Mapping[str, Any] = field(default_factory=dict)


class PlannedApp(Ephemeral):
    """What ``dry_run=True`` gives instead of a running app: nothing of it runs or is on a cluster.

    Args:
        planned: The app, after those that it depends on.
    """

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._planned = planned

    @property
    def plan(self) -> tuple[AppSpec, ...]:
        """What would have been served: the app last, after those that it depends on."""
        return tuple(each.spec for each in self._planned)

    @property
    def name(self) -> str:
        """The app's name."""
        return self.plan[-1].name

    @property
    def url(self) -> str:
        """Empty: it has no address."""
        return ""

    endpoint = url

    @property
    def revision(self) -> int:
        """Always 0."""
        return 0

    @property
    def deployment_status(self) -> AppPhase:
        """Always stopped."""
        return AppPhase.STOPPED

    @property
    def desired_state(self) -> Literal["active", "stopped"]:
        """Always stopped."""
        return "stopped"

    def is_active(self) -> bool:
        """Always false."""
        return False

    def is_deactivated(self) -> bool:
        """Always true."""
        return True

    async def _refuse(self, /, *_: object, **__: object) -> NoReturn:
        """Raise DeploymentError: there is nothing to do it with."""
        raise DeploymentError(f"App {self.name!r} was planned only: serve it without dry_run.")

    _activate = _deactivate = _refuse
    activate = deactivate = wait = watch = show_logs = MethodVerb(_refuse)

    def __repr__(self) -> str:
        return f"PlannedApp(name={self.name!r})"


@dataclass(frozen=True)
class PlannedRun:
    """What ``dry_run=True`` gives instead of a run: nothing of it runs or is on a cluster.

    Attributes:
        name: What the run would be called.
        plan: The task as the cluster would see it.
        url: Empty: there is nothing of it in storage.
    """

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
