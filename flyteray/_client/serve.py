"""``flyteray.serve``: bring an app up, and the handle to follow it by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from flyteray._client.bridge import MethodVerb, Verb, run_blocking
from flyteray._client.session import session
from flyteray._plan import apps, code, failure
from flyteray._plan.spec import AppInfo, AppPhase
from flyteray.app.environment import AppEnvironment
from flyteray.errors import DeploymentError

_POLL_S = 10.0  # how long one question to the controller may wait
_ACTIVATE_S = 300.0


class App:
    """An app on a cluster. The handle is a name: it stays valid in other processes, through :meth:`get`."""

    def __init__(self, info: AppInfo) -> None:
        self._info = info

    @property
    def info(self) -> AppInfo:
        """What was known when the handle last asked; :meth:`sync` asks anew."""
        return self._info

    @property
    def name(self) -> str:
        """The app's name."""
        return self._info.name

    @property
    def url(self) -> str:
        """The address for browsers: a host name of its own, ``http://<app>.localhost:<port>/``."""
        return self._info.url

    @property
    def endpoint(self) -> str:
        """The address for programs, which needs no name resolution: ``http://127.0.0.1:<port>/<app>``."""
        return self._info.endpoint

    @property
    def revision(self) -> int:
        """Counts the versions of the app that were ever served."""
        return self._info.revision

    @property
    def status(self) -> AppPhase:
        """What is observed now."""
        self.sync()
        return self._info.phase

    deployment_status = status

    def is_active(self) -> bool:
        """Whether the newest version takes requests."""
        return self.status is AppPhase.ACTIVE

    def is_deactivated(self) -> bool:
        """Whether the app was stopped."""
        return self.status is AppPhase.STOPPED

    async def _sync(self) -> App:
        """Ask the cluster how the app stands."""
        self._info = await session().call("get_app", self.name)
        return self

    sync = MethodVerb(_sync)

    async def _wait(self, timeout: float = _ACTIVATE_S) -> App:
        """Wait until the newest version serves.

        Args:
            timeout: Seconds.

        Raises:
            DeploymentError: it could not start (the user's exception is the cause), it was stopped, or the
                time is up. The version that served before goes on serving.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._info = info = await session().call("wait_app", self.name, _POLL_S)
            if info.phase is AppPhase.ACTIVE:
                return self
            if info.phase is AppPhase.FAILED:
                raise _failed(info)
            if info.phase is AppPhase.STOPPED:
                raise DeploymentError(f"App {self.name!r} was stopped while it was waited for.")
            if loop.time() >= deadline:
                raise DeploymentError(
                    f"App {self.name!r} did not come up within {timeout:g} s: {info.ready_replicas} of "
                    f"{info.replicas} replicas are ready. It goes on trying; `flyteray get app {self.name}` tells."
                )

    wait = MethodVerb(_wait)

    async def _activate(self, wait: bool = False) -> App:
        """Start the app again after it was stopped; nothing happens when it runs.

        Args:
            wait: Return when it serves, as :meth:`wait` does.
        """
        self._info = await session().call("set_desired", self.name, "active")
        return await self._wait() if wait else self

    activate = MethodVerb(_activate)

    async def _deactivate(self, wait: bool = False) -> App:
        """Stop the app: its replicas end, its name answers that it is stopped. What is in flight may end first.

        Args:
            wait: Return when its replicas have ended.
        """
        self._info = await session().call("set_desired", self.name, "stopped")
        if wait:
            self._info = await session().call("wait_stopped", self.name)
        return self

    deactivate = MethodVerb(_deactivate)

    @contextlib.asynccontextmanager
    async def ephemeral_ctx(self) -> AsyncIterator[App]:
        """Active inside ``async with``, stopped after it, also when the block raises."""
        await self._activate(wait=True)
        try:
            yield self
        finally:
            await self._deactivate(wait=True)

    @contextlib.contextmanager
    def ephemeral_ctx_sync(self) -> Iterator[App]:
        """Active inside ``with``, stopped after it, also when the block raises."""
        run_blocking(self._activate(wait=True))
        try:
            yield self
        finally:
            run_blocking(self._deactivate(wait=True))

    @staticmethod
    async def _get(name: str) -> App:
        """The app of that name; AppNotFoundError where there is none."""
        return App(await session().call("get_app", name))

    get = Verb(_get)

    @staticmethod
    async def _listall() -> list[App]:
        """All apps by name."""
        return [App(info) for info in await session().call("list_apps")]

    listall = Verb(_listall)

    @staticmethod
    async def _delete(name: str) -> None:
        """Stop an app and forget it; returns when its replicas have ended."""
        await session().call("delete_app", name)

    delete = Verb(_delete)

    def __repr__(self) -> str:
        return f"App(name={self.name!r}, status={self._info.phase}, endpoint={self.endpoint!r})"


async def _serve(app_env: AppEnvironment) -> App:
    """Bring an app up and return its handle when it serves; it stays up when this process ends.

    Apps that it depends on come first. Serving unchanged code again restarts nothing; a changed version takes over
    when all of its replicas are ready, and no request is lost.

    Args:
        app_env: What to serve.

    Raises:
        TypeError: not an app environment.
        DeploymentError: a replica could not start; the user's exception is the cause. The version that served before
            goes on serving.
        ParameterMaterializationError: an output that a parameter names does not exist.
    """
    if not isinstance(app_env, AppEnvironment):
        raise TypeError(
            f"flyteray.serve serves an AppEnvironment, not {app_env!r}. To run a task, use flyteray.run."
        )
    ordered = apps.in_order(app_env)
    for env in ordered:
        ref, bundle = code.ship(env)
        spec = apps.app_spec(env, ref)
        await session().upload(bundle)
        served = App(await session().call("serve", spec))
        await served._wait()
    return served


serve = Verb(_serve)


def _failed(info: AppInfo) -> DeploymentError:
    assert info.error is not None
    old = "The version before it goes on serving." if info.version else "No version of it serves."
    error = DeploymentError(
        f"App {info.name!r} could not start: {info.error.code}: {info.error.message}\n{old}"
    )
    error.__cause__ = failure.restore(info.error)
    return error
