"""The versions of an app share its requests: how users ask for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from flyteray._client.apps.handle import last_lines, start_error
from flyteray._client.bridge import MethodVerb, not_while_loading
from flyteray._client.session.session import session
from flyteray._declare.options.shares import checked_shares, checked_sticky
from flyteray._plan.info import AppVersion
from flyteray._plan.traffic.shadow import ShadowSpec
from flyteray.app.shadow import Shadow

_USUAL = Shadow()


class Versioned(ABC):
    """An app on a cluster as one with versions."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The app's name."""

    @MethodVerb
    async def versions(self) -> list[AppVersion]:
        """The versions of the app, newest first, with the share of its requests that each has."""
        return await session().controller.apps.versions(self.name)

    @MethodVerb
    @not_while_loading("App.set_traffic")
    async def set_traffic(
        self, shares: Mapping[str, int], sticky: str | None = None, wait: bool = True
    ) -> list[AppVersion]:
        """Divide the app's requests among its versions: ``app.set_traffic({"v1": 95, "v2": 5})``.

        It happens in one step, when all of these versions are ready; until then all is as before. A version that has
        ended is started again. Those that are not named take no new requests, and end with the last one that is open.
        A version with a share of 0 runs, and takes only requests that name it: by the header ``X-Flyteray-Version``,
        or the cookie ``flyteray-version``. Host names, limits and keys are those of the version with the largest share.

        Args:
            shares: Percent by version, 100 together: names that :meth:`versions` tells.
            sticky: What keeps a client to one version: ``"cookie"``, or the name of a header that tells clients apart.
                Who has the smaller version keeps it while its share grows. Default: each request for itself.
            wait: Return when it is so.

        Returns:
            The versions, newest first.

        Raises:
            ValueError: There is no such version, or the shares are no percent.
            DeploymentError: A version could not start; all is as before.
            RuntimeUserError: The app is stopped.
            ActivationTimeoutError: As of :meth:`wait`.
        """
        asked = checked_shares(shares)
        await session().controller.apps.set_traffic(self.name, asked, checked_sticky(sticky))
        return await self._divided(asked, wait)

    @MethodVerb
    @not_while_loading("App.set_shadow")
    async def set_shadow(
        self, version: str | None, shadow: Shadow = _USUAL, wait: bool = True
    ) -> list[AppVersion]:
        """Have a version get copies of the app's requests: ``app.set_shadow("v2", Shadow(share=10))``.

        It gets them when its replicas are ready; one that has ended is started again. It takes the place of the shadow
        that there is, and begins to count anew. With None the shadow ends, and so do its replicas; what was counted
        stays with the version.

        Args:
            version: The name of one that neither serves nor has a share of the requests; None: none.
            shadow: How; see :class:`flyteray.app.Shadow`.
            wait: Return when it is so.

        Returns:
            The versions, newest first.

        Raises:
            ValueError: There is no such version, or users get its answers.
            RuntimeUserError: No version serves, or the app is stopped; for None, there is no shadow.
            DeploymentError: The version could not start.
            ActivationTimeoutError: As of :meth:`wait`.
        """
        if not isinstance(shadow, Shadow):
            raise TypeError(f"set_shadow takes a flyteray.app.Shadow, got {shadow!r}.")
        if version is not None and not isinstance(version, str):
            raise TypeError(f"set_shadow takes the name of a version, or None, got {version!r}.")
        told = await session().controller.apps.set_shadow(self.name, version, ShadowSpec.of(shadow))
        # a stopped app has nothing to wait for: its shadow is over
        wait = wait and told.desired == "active"
        return await self._divided(() if version is None else (version,), wait)

    @MethodVerb
    @not_while_loading("App.promote")
    async def promote(self, version: str, wait: bool = True) -> list[AppVersion]:
        """Give all requests to one version: ``set_traffic({version: 100})``; errors as of :meth:`set_traffic`."""
        return await self.set_traffic.aio({version: 100}, wait=wait)

    @MethodVerb
    @not_while_loading("App.rollback")
    async def rollback(self, wait: bool = True) -> list[AppVersion]:
        """Undo the last change of the app's traffic.

        Where requests are shared, or a newer version is coming up, all of them stay with the version that serves.
        Otherwise they go to the one that served before it, which is started again if it has ended.

        Args:
            wait: Return when it is so.

        Raises:
            RuntimeUserError: No version served before, or the app is stopped.
            ActivationTimeoutError: As of :meth:`wait`.
        """
        await session().controller.apps.rollback(self.name)
        return await self._divided((), wait)

    @abstractmethod
    async def _until_active(self) -> None:
        """Wait until all is as it was asked for."""

    async def _divided(self, asked: Collection[str], wait: bool) -> list[AppVersion]:
        """The versions, with ``wait`` when they have their shares; raises where one that was asked for has failed."""
        if wait:
            await self._until_active()
        versions = await session().controller.apps.versions(self.name)
        if wait:
            for version in versions:
                refuse_failed(self.name, version, asked)
        return versions


def refuse_failed(app: str, version: AppVersion, asked: Collection[str]) -> None:
    """Raise why a version could not start that was asked for by its name or id."""
    if version.phase == "failed" and version.error is not None and {version.name, version.id} & {*asked}:
        told = f"\nVersion {version.name!r} has no share of the requests; all is as before."
        raise start_error(app, version.error, told + last_lines(version.error.log))
