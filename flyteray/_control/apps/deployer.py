"""The deployer brings an app version to the cluster: it has its image built, then asks Serve for its replicas."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flyteray._cluster import nodes
from flyteray._cluster.images.images import Images
from flyteray._cluster.workers import launch, variables
from flyteray._control.apps.records import Records
from flyteray._control.apps.scaler import Scaler
from flyteray._control.apps.state import VersionPhase, VersionRecord
from flyteray._declare.context import RAW_DATA_PATH
from flyteray._plan import failure, placement, spares
from flyteray._plan.info import ClusterInfo
from flyteray._plan.spares import BLANK
from flyteray._plan.spec import NO_IMAGE, AppSpec, Start
from flyteray._serve.ray_serve import deployment
from flyteray._serve.spares import hook
from flyteray.errors import RegistryUnavailableError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0
_PLACED_S = 10.0  # for replicas to get a process; each then has its own time to start in
_REGISTRY_S = 2.0  # between two looks whether a registry that is away is back


class Deployer:
    """Starts versions; one that can't be started has failed.

    ``wake`` is called when a version whose image had to be built was started, or could not be.
    """

    def __init__(
        self, records: Records, images: Images, scaler: Scaler, cluster: ClusterInfo, wake: Callable[[], None]
    ) -> None:
        self._records = records
        self._images = images
        self._scaler = scaler
        self._cluster = cluster
        self._wake = wake
        self._building: dict[str, asyncio.Task[None]] = {}  # by version
        self._failures: dict[str, int] = {}  # of those that served before: how often they could not start
        self._not_before: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}

    def is_overdue(self, version: VersionRecord) -> bool:
        """Whether a version that Serve was asked for should be ready by now."""
        if version.phase is not VersionPhase.DEPLOYING or self.is_building(version.id):
            self._handed_over.pop(version.id, None)
            return False
        since = self._handed_over.setdefault(version.id, time.monotonic())
        return time.monotonic() - since > version.spec.startup_timeout_s + _PLACED_S

    def is_building(self, version: str) -> bool:
        """Whether a version waits for its image, so that Serve does not know it yet."""
        return version in self._building

    def is_due(self, version: str) -> bool:
        """Whether a version may be started now: one that could not start has to wait."""
        return self._not_before.get(version, 0.0) <= time.monotonic()

    async def start(self, version: VersionRecord) -> None:
        """Have a version deployed; returns before its replicas, or even its image, are there."""
        error = version.error if version.id in self._failures else None
        try:
            backend = self._records.free_backend()
            self._records.put_version(
                replace(version, phase=VersionPhase.DEPLOYING, backend=backend, error=error)
            )
            if version.spec.environment.image is None:
                await self._hand_over(version, NO_IMAGE)
            else:
                # Other apps must not wait for it: it may take minutes.
                building = asyncio.create_task(self._build_and_hand_over(version))
                self._building[version.id] = building
                building.add_done_callback(lambda _: self._building.pop(version.id, None))
        except Exception as problem:  # noqa: BLE001  # whatever Serve refuses it for, who asked must see it
            self._give_up(version, problem)

    async def again_later(self, version_id: str) -> None:
        """Try a version again that served before and that Serve has given up, after a pause that grows.

        The reason may be over then: another app that it needs, or its storage.
        """
        version = self._records.versions.get(version_id)
        if version is None or version.phase is not VersionPhase.DEPLOYING:
            return
        failures = self._failures[version_id] = self._failures.get(version_id, 0) + 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S)
        self._not_before[version_id] = time.monotonic() + pause_s
        self._records.put_version(replace(version, phase=VersionPhase.PENDING, backend=None))
        await asyncio.to_thread(deployment.undeploy, version_id)
        logger.warning("%s could not start; it is tried again in %d s", version_id, pause_s)

    def forgive(self, version_id: str) -> None:
        """Forget that a version could not start: it was asked for anew, or has come up, and is tried at once."""
        self._failures.pop(version_id, None)
        self._not_before.pop(version_id, None)

    async def _build_and_hand_over(self, version: VersionRecord) -> None:
        while True:
            try:
                await self._try_to_build(version)
                break
            except RegistryUnavailableError as error:
                logger.warning("%s is built, or given up, when the registry is back: %s", version.id, error)
                await asyncio.sleep(_REGISTRY_S)
        self._wake()

    async def _try_to_build(self, version: VersionRecord) -> None:
        try:
            image = version.spec.environment.image
            start = await self._images.prepare(image)
            if image is not None and image.program:
                start = NO_IMAGE  # the image is its program's alone
            known = self._records.versions.get(version.id)
            # Meanwhile it may have been replaced, stopped or deleted.
            if known is not None and known.phase in (VersionPhase.PENDING, VersionPhase.DEPLOYING):
                await self._hand_over(version, start)
        except RegistryUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  # as above
            self._give_up(version, error)

    async def _hand_over(self, version: VersionRecord, start: Start) -> None:
        cluster = await asyncio.to_thread(nodes.look)
        gets = placement.fitted(version.spec.environment, cluster, version.spec.replicas)
        kind = spares.kind_of(version.spec, start)
        if kind == BLANK:
            # Its processes may be there already: they are told when they become replicas.
            gets = gets.model_copy(update={"env_vars": self._variables(version.spec)})
        spec = version.spec.model_copy(update={"environment": gets})
        runtime_env = await asyncio.to_thread(self._runtime_env, spec, start, kind)
        replicas = self._scaler.first(version)
        await asyncio.to_thread(deployment.deploy, version.id, version.id, spec, runtime_env, replicas)
        self._scaler.counts.asked(version.id, replicas)

    def _give_up(self, version: VersionRecord, error: Exception) -> None:
        known = self._records.versions.get(version.id)
        if known is not None and self._records.is_wanted(known):
            described = failure.describe(error)
            self._records.put_version(
                replace(known, phase=VersionPhase.FAILED, backend=None, error=described)
            )

    def _runtime_env(self, spec: AppSpec, start: Start, kind: str) -> dict[str, Any]:
        if kind == BLANK:
            told = launch.runtime_env(BLANK, start, None, 0)
        else:
            kept = variables.keep(
                self._variables(spec)
                | spec.environment.env_vars
                | {
                    each.env_var: each.value
                    for each in spec.parameters
                    if each.env_var and each.kind == "string" and each.value is not None  # the others later
                }
            )
            identity = spec.code.bundle or spec.code.version
            told = launch.runtime_env(identity, start, kept, launch.threads_of(spec.environment))
        if start.container:
            told["env_vars"] |= self._variables(spec)
        told["env_vars"] |= hook.variables(kind, launch.threads_of(spec.environment))
        return told

    def _variables(self, spec: AppSpec) -> dict[str, str]:
        """The variables that tell a version's code where it is."""
        return {
            "INTERNAL_APP_ENDPOINT_PATTERN": self._cluster.endpoint_pattern,
            "FLYTERAY_STORAGE": self._cluster.storage,
            RAW_DATA_PATH: f"{self._cluster.storage.rstrip('/')}/apps/{spec.name}/data",
        }
