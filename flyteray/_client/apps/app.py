"""An app on a cluster is followed and steered by its handle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from flyteray._client.apps import logs as app_logs
from flyteray._client.apps.access import Accessed
from flyteray._client.apps.handle import Awaited, BaseHandle, LogQuery, last_lines, start_error
from flyteray._client.apps.versions import Versioned
from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading
from flyteray._client.progress import Progress
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._declare.environment import without_meaning
from flyteray._declare.this_cluster import this_process
from flyteray._handles import AsJson
from flyteray._plan.info import AppInfo, AppPhase, to_json
from flyteray.errors import ActivationTimeoutError, AppNotFoundError, DeploymentError

ACTIVATE_S = 300.0
_POLL_S = 2.0  # how long one question to the controller may wait; then what is waited for is said
_STATUS_PREFIX = "deployment_status_"  # of Flyte's full names

# Flyte's names of statuses, and what flyteray calls them.
_STATUSES: dict[str, AppPhase | None] = {
    "active": AppPhase.ACTIVE,
    "assigned": AppPhase.DEPLOYING,
    "deploying": AppPhase.DEPLOYING,
    "failed": AppPhase.FAILED,
    "pending": AppPhase.DEPLOYING,
    "scaling_down": None,
    "scaling_up": None,
    "started": AppPhase.ACTIVE,
    "stopped": AppPhase.STOPPED,
    "unassigned": AppPhase.STOPPED,
    "unspecified": None,
}
_SORTABLE = ("name", "created_at", "updated_at", "revision", "phase")


class App(Versioned, Accessed, BaseHandle, AsJson):
    """An app on a cluster. The handle is a name: it stays valid in other processes, through :meth:`get`."""

    def __init__(
        self, info: AppInfo, activate_timeout: float = ACTIVATE_S, deactivate_timeout: float | None = None
    ) -> None:
        self._info = info
        self._activate_timeout = activate_timeout
        self._deactivate_timeout = deactivate_timeout

    @property
    def info(self) -> AppInfo:
        """The app when the handle last asked; ``sync`` asks anew."""
        return self._info

    @property
    def name(self) -> str:
        """The app's name on the cluster."""
        return self._info.name

    @property
    def url(self) -> str:
        """The address for browsers: a host name of its own, ``http://<app>.localhost:<port>/``.

        Where the ingress listens beyond this machine, that is the :attr:`endpoint` with a slash.
        """
        return self._info.url

    @property
    def endpoint(self) -> str:
        """The address for programs, which needs no name resolution: ``http://<address>:<port>/<app>``."""
        return this_process().cluster.endpoint(self.name) or self._info.endpoint

    @property
    def revision(self) -> int:
        """Counts the versions of the app that were ever served."""
        return self._info.revision

    @property
    def desired_state(self) -> Literal["active", "stopped"]:
        """The state that was asked for last, as far as this handle knows."""
        return self._info.desired

    @property
    def status(self) -> AppPhase:
        """The phase that is observed now."""
        self.sync()
        return self._info.phase

    deployment_status = status  # Flyte's name for it

    def is_active(self) -> bool:
        """Whether the newest version takes requests."""
        return self.status is AppPhase.ACTIVE

    def is_deactivated(self) -> bool:
        """Whether the app was stopped."""
        return self.status is AppPhase.STOPPED

    @MethodVerb
    async def sync(self) -> App:
        """Ask the cluster how the app stands."""
        self._info = await session().controller.apps.get(self.name)
        return self

    @MethodVerb
    async def wait(self, timeout: float | None = None) -> App:
        """Wait until the newest version serves.

        Args:
            timeout: Seconds; what was given as ``activate_timeout`` by default, or else 300.

        Raises:
            DeploymentError: it could not start (the user's exception is the cause), or it was stopped.
            ActivationTimeoutError: the time is up. The version that served before goes on serving.
        """
        timeout = self._activate_timeout if timeout is None else timeout
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        progress = Progress(f"app {self.name}", quiet=False, live=False)
        while True:
            patience = min(_POLL_S, max(0.0, deadline - loop.time()))
            self._info = info = await session().controller.apps.wait(self.name, patience)
            progress.tell(info.waiting if info.phase is AppPhase.DEPLOYING else None)
            if info.phase is AppPhase.ACTIVE:
                return self
            if info.phase is AppPhase.FAILED:
                assert info.error is not None
                old = "The version before it goes on serving." if info.version else "No version of it serves."
                raise start_error(info.name, info.error, f"\n{old}{last_lines(info.error.log)}")
            if info.phase is AppPhase.STOPPED:
                raise DeploymentError(f"App {self.name!r} was stopped while it was waited for.")
            if loop.time() >= deadline:
                why = f" It {info.waiting}." if info.waiting else ""
                raise ActivationTimeoutError(
                    f"App {self.name!r} failed to become active within {timeout:g} seconds: {info.ready_replicas} of "
                    f"{info.replicas} replicas are ready.{why} It goes on trying; `flyteray get app {self.name}` tells."
                )

    @MethodVerb
    async def watch(self, wait_for: Awaited = "activated") -> App:
        """Wait until the app serves or has stopped, and return the handle as it is then.

        Args:
            wait_for: ``"activated"`` or ``"deactivated"``.

        Raises:
            DeploymentError: it failed, or it was stopped while it was to serve.
            ValueError: another thing to wait for.
        """
        if self._waits_until_active(wait_for):
            return await self.wait.aio()
        self._info = await session().controller.apps.wait_stopped(self.name)
        return self

    @MethodVerb
    @not_while_loading("App.activate")
    async def activate(self, wait: bool = False) -> App:
        """Start the app again after it was stopped; nothing happens when it runs.

        Args:
            wait: Return when it serves, as :meth:`wait` does.
        """
        self._info = await session().controller.apps.set_desired(self.name, "active")
        return await self.wait.aio() if wait else self

    @MethodVerb
    @not_while_loading("App.deactivate")
    async def deactivate(self, wait: bool = False) -> App:
        """Stop the app: its replicas end, its name answers that it is stopped. What is in flight may end first.

        Args:
            wait: Return when its replicas have ended.

        Raises:
            ActivationTimeoutError: they have not ended within ``deactivate_timeout``, where that was given.
        """
        self._info = await session().controller.apps.set_desired(self.name, "stopped")
        if wait:
            stopped = session().controller.apps.wait_stopped(self.name, True)
            try:
                self._info = await asyncio.wait_for(stopped, self._deactivate_timeout)
            except asyncio.TimeoutError:
                raise ActivationTimeoutError(
                    f"App {self.name!r} did not end within {self._deactivate_timeout:g} seconds. It goes on ending."
                ) from None
        return self

    async def _until_active(self) -> None:
        await self.wait.aio()

    def _lines(self, query: LogQuery) -> AsyncIterator[str]:
        return app_logs.lines(self.name, query)

    def to_dict(self) -> dict[str, Any]:
        """The record of the app as plain JSON values."""
        return to_json(self._info)

    @staticmethod
    @Verb
    async def get(name: str, project: str | None = None, domain: str | None = None) -> App:
        """The app of that name; AppNotFoundError where there is none.

        Args:
            name: Its name.
            project, domain: Of Flyte: Ray has none, so these change nothing, and say so.
        """
        without_projects("App", project, domain)
        return App(await session().controller.apps.get(name))

    @staticmethod
    @ListVerb
    async def listall(
        created_by_subject: str | None = None,
        sort_by: str | tuple[str, Literal["asc", "desc"]] | None = None,
        limit: int = 100,
        in_status: str | AppPhase | Sequence[str | AppPhase] | None = None,
    ) -> list[App]:
        """The apps of the cluster.

        Args:
            created_by_subject: Of Flyte: Ray knows no users, so this changes nothing, and says so.
            sort_by: ``"name"`` (the default), ``"created_at"``, ``"updated_at"``, ``"revision"`` or ``"phase"``, or
                one of these with ``"desc"``: ``("created_at", "desc")``.
            limit: At most that many.
            in_status: Only of this status, or of these: Flyte's names of statuses, short or full, in any case.

        Raises:
            ValueError: no such status, or nothing to sort by.
        """
        if created_by_subject is not None:
            without_meaning("App.listall", "created_by_subject")
        phases = _phases(in_status)
        key, order = (sort_by, "asc") if isinstance(sort_by, str) else sort_by or ("name", "asc")
        if key not in _SORTABLE or order not in ("asc", "desc"):
            raise ValueError(
                f'sort_by must be one of {", ".join(_SORTABLE)}, alone or with "asc" or "desc", not {sort_by!r}.'
            )
        found = await session().controller.apps.listall()
        wanted = [info for info in found if phases is None or info.phase in phases]
        wanted.sort(key=lambda info: getattr(info, key), reverse=order == "desc")
        return [App(info) for info in wanted[:limit]]

    @staticmethod
    @Verb
    @not_while_loading("App.delete")
    async def delete(name: str, project: str | None = None, domain: str | None = None) -> None:
        """Stop an app and forget it; returns when its replicas have ended. An unknown one is fine.

        Args:
            name: Its name.
            project, domain: As in :meth:`get`.
        """
        without_projects("App", project, domain)
        with contextlib.suppress(AppNotFoundError):
            await session().controller.apps.delete(name)

    def __repr__(self) -> str:
        return f"App(name={self.name!r}, status={self._info.phase}, endpoint={self.endpoint!r})"


def _phases(in_status: str | AppPhase | Sequence[str | AppPhase] | None) -> set[AppPhase | None] | None:
    if in_status is None:
        return None
    phases = set()
    for each in (in_status,) if isinstance(in_status, (str, AppPhase)) else in_status:
        name = str(each).lower().removeprefix(_STATUS_PREFIX)
        if name not in _STATUSES:
            raise ValueError(f"{each!r} is no status of an app: use {', '.join(_STATUSES)}.")
        phases.add(_STATUSES[name])  # None is the phase of no app
    return phases
