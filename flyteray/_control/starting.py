"""How an app version comes to be on the cluster: its image is built, then Serve is asked for its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flyteray._cluster.images import NO_IMAGE, Images, Start
from flyteray._control.records import Records
from flyteray._control.sizes import Sizes
from flyteray._control.state import VersionPhase, VersionRecord
from flyteray._plan import failure
from flyteray._plan.info import ClusterInfo
from flyteray._plan.spec import AppSpec
from flyteray._serve import deployment


class Starting:
    """Starts versions; what can't be started has failed.

    Args:
        records: What is known of apps.
        images: What makes the images of apps ready.
        sizes: How many replicas a version starts with.
        cluster: The addresses that apps are reached at.
        wake: Called when one that had to be built was started, or could not be.
    """

    def __init__(
        self,
        records: Records,
        images: Images,
        sizes: Sizes,
        cluster: ClusterInfo,
        wake: Callable[[], None],
    ) -> None:
        self._records = records
        self._images = images
        self._sizes = sizes
        self._cluster = cluster
        self._wake = wake
        self._building: dict[str, asyncio.Task[None]] = {}  # by version

    def is_building(self, version: str) -> bool:
        """Whether a version waits for its image, so that Serve does not know it yet."""
        return version in self._building

    async def start(self, version: VersionRecord) -> None:
        """Have a version deployed; returns before its replicas, or even its image, are there."""
        try:
            self._records.put_version(
                replace(
                    version, phase=VersionPhase.DEPLOYING, backend=self._records.free_backend(), error=None
                )
            )
            if version.spec.environment.image is None:
                await self._hand_over(version, NO_IMAGE)
            else:
                # Other apps must not wait for it: it may take minutes.
                building = asyncio.create_task(self._build_and_hand_over(version))
                self._building[version.id] = building
                building.add_done_callback(lambda _: self._building.pop(version.id, None))
        except Exception as error:  # noqa: BLE001  # whatever Serve refuses it for, who asked must see it
            self._give_up(version, error)

    async def _build_and_hand_over(self, version: VersionRecord) -> None:
        try:
            start = await self._images.prepare(version.spec.environment.image)
            if self._is_deploying(version):
                await self._hand_over(version, start)
        except Exception as error:  # noqa: BLE001  # as above
            self._give_up(version, error)
        self._wake()

    async def _hand_over(self, version: VersionRecord, start: Start) -> None:
        runtime_env = self._runtime_env(version.spec) | dict(start)
        replicas = self._sizes.first(version)
        await asyncio.to_thread(
            deployment.deploy, version.id, version.id, version.spec, runtime_env, replicas
        )
        self._sizes.asked(version.id, replicas)

    def _give_up(self, version: VersionRecord, error: Exception) -> None:
        if self._is_deploying(version):
            described = failure.describe(error)
            self._records.put_version(
                replace(version, phase=VersionPhase.FAILED, backend=None, error=described)
            )

    def _is_deploying(self, version: VersionRecord) -> bool:
        """Whether it is wanted still: meanwhile it may have been replaced, stopped or deleted."""
        known = self._records.versions.get(version.id)
        return known is not None and known.phase in (VersionPhase.PENDING, VersionPhase.DEPLOYING)

    def _runtime_env(self, spec: AppSpec) -> dict[str, Any]:
        ours = {
            "FLYTERAY_CODE": spec.code.bundle or spec.code.version,
            "INTERNAL_APP_ENDPOINT_PATTERN": self._cluster.endpoint_pattern,
        }
        return {"env_vars": ours | spec.environment.env_vars}
