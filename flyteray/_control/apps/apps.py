"""Apps answer clients and replicas: what is wanted of them is recorded here, and the reconciler brings it about."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal
from uuid import uuid4

from flyteray._actors.controller import Apps as AppsDoor
from flyteray._actors.keeper import keeper
from flyteray._cluster import nodes
from flyteray._cluster.images.images import Images
from flyteray._control.apps.hosts import refuse_taken_hosts
from flyteray._control.apps.ingresses import Ingresses
from flyteray._control.apps.reconciler import Reconciler
from flyteray._control.apps.records import Records
from flyteray._control.apps.scaler import Size
from flyteray._control.apps.state import AppRecord, VersionPhase, VersionRecord
from flyteray._control.apps.traffic import division
from flyteray._control.apps.traffic.canaries import Asked
from flyteray._control.apps.traffic.shadows import AskedOfCopies
from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.secrets import Secrets
from flyteray._control.runs.outputs import Outputs
from flyteray._declare.near import did_you_mean
from flyteray._ingress.routes import SLOTS
from flyteray._plan import placement
from flyteray._plan.info import (
    AppInfo,
    AppPhase,
    AppVersion,
    AskedVersion,
    ClusterInfo,
    ErrorInfo,
    ReplicaInfo,
)
from flyteray._plan.resources import of_part
from flyteray._plan.spec import AppSpec
from flyteray._plan.traffic.advice import Advice
from flyteray._plan.traffic.canary import CanaryRecord, CanarySpec
from flyteray._plan.traffic.shadow import ShadowRecord, ShadowSpec
from flyteray._plan.triggers.windows import most_ever
from flyteray._serve.ray_serve import deployment
from flyteray.app.scaling import Signals
from flyteray.errors import AppNotFoundError, PlacementError, RuntimeUserError

_STOPPED_S = 60.0  # for the replicas of an app that somebody has stopped or deleted: they wait for that
_ENDED_POLL_S = 0.1


class Apps(AppsDoor):
    """The apps of a cluster, as users ask for them and as their replicas report."""

    def __init__(
        self,
        registry: Registry,
        cluster: ClusterInfo,
        images: Images,
        secrets: Secrets,
        outputs: Outputs,
        ingresses: Ingresses,
        figures: Asked,
        compared: AskedOfCopies,
        wake: asyncio.Event,
    ) -> None:
        self._secrets = secrets
        self._outputs = outputs
        self._records = records = Records(registry.apps)
        self._loop = Reconciler(
            records, cluster, images, registry.keys, secrets, ingresses, figures, compared, wake
        )

    async def run(self) -> None:
        """Bring about what is wanted, for as long as the controller lives."""
        await self._loop.run()

    # Questions of users

    async def serve(
        self,
        spec: AppSpec,
        declared: Sequence[str] = (),
        share: int = 100,
        canary: CanarySpec | None = None,
        shadow: ShadowSpec | None = None,
    ) -> AskedVersion:
        self._secrets.require(secret.name for secret in spec.environment.secrets)
        spec = await self._outputs.pin(spec, declared)
        await asyncio.to_thread(_check_placement, spec)
        refuse_taken_hosts(spec, self._records.specs())
        if (most := most_ever(spec)) > SLOTS:
            raise ValueError(
                f"App {spec.name!r}: {most} replicas are more than the {SLOTS} that an app can have."
            )
        app = self._records.apps.get(spec.name)
        if shadow:
            division.refuse_shadow(spec.name, app, spec.version_id, spec.version_name)
        target, shares = division.beside(
            app, spec.version_id, canary.steps[0] if canary else 0 if shadow else share
        )
        begun = CanaryRecord(spec=canary) if canary and shares else None
        shadowing = _begun(shadow) if shadow else None
        known = self._records.versions.get(spec.version_id)
        revision = known.revision if known else (app.revision + 1 if app else 1)
        at = now()
        if known is None:
            self._records.put_version(
                VersionRecord(
                    id=spec.version_id,
                    app=spec.name,
                    spec=spec,
                    revision=revision,
                    phase=VersionPhase.PENDING,
                    backend=None,
                    error=None,
                    created_at=at,
                    draining_since=None,
                    canary=begun,
                    shadow=shadowing,
                )
            )
        elif known.spec.digest() != spec.digest():
            raise ValueError(
                f"App {spec.name!r} has a version {spec.version!r} already, and it is not what is deployed now. A "
                "version never changes: choose another name for this one."
            )
        else:
            # How it is reached may have changed: that is no part of what a version is.
            shadowing = shadowing or known.shadow
            self._records.put_version(replace(known, spec=spec, canary=begun, shadow=shadowing))
            self._loop.forgive(self._records.versions[spec.version_id])
        goes_on = app is not None and app.desired == "active"
        self._records.put_app(
            AppRecord(
                name=spec.name,
                desired="active",
                target=target,
                serving=app.serving if app and goes_on else None,
                revision=max(revision, app.revision if app else 0),
                created_at=app.created_at if app else at,
                updated_at=at,
                shares=shares,
                routed=app.routed if app and goes_on else {},
                sticks=canary.sticks if canary and begun else app.sticks if app and shares else None,
                previous=app.previous if app else None,
            )
        )
        if shadow:
            self._end_shadows(spec.name, f"{spec.version_name} is the shadow now", but=spec.version_id)
        await self._loop.changed()  # requests for it wait from now on
        return AskedVersion(version=spec.version_id, app=self._told(spec.name))

    async def wait(self, name: str, timeout_s: float) -> AppInfo:
        await self._loop.begun()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._loop.until(lambda: self._has_settled(name)), timeout_s)
        # Before the ingress is told: it must not hear of a decision later than the caller.
        info = self._told(name)
        await self._loop.route()
        return info

    def _has_settled(self, name: str) -> bool:
        app = self._records.apps.get(name)
        return app is None or self._loop.info(app).phase is not AppPhase.DEPLOYING

    async def get(self, name: str) -> AppInfo:
        return self._told(name)

    def _told(self, name: str) -> AppInfo:
        if name not in self._records.apps:
            there = ", ".join(sorted(self._records.apps)) or "none"
            meant = did_you_mean(name, self._records.apps)
            raise AppNotFoundError(f"There is no app {name!r}. Apps on this cluster: {there}.{meant}")
        return self._loop.info(self._records.apps[name])

    async def listall(self) -> list[AppInfo]:
        return [self._loop.info(app) for _, app in sorted(self._records.apps.items())]

    async def replicas(self, name: str) -> list[ReplicaInfo]:
        self._told(name)
        return [
            replica.info
            for version in self._records.of_app(name)
            for replica in self._records.of_version(version.id)
        ]

    async def parts(self, name: str) -> list[ReplicaInfo]:
        self._told(name)
        versions = {version.id for version in self._records.of_app(name) if version.spec.parts}
        return await asyncio.to_thread(deployment.parts, versions) if versions else []

    async def versions(self, name: str) -> list[AppVersion]:
        self._told(name)
        app, versions = self._records.apps[name], self._records.of_app(name)
        return division.version_infos(app, versions, self._records.ready())

    async def set_traffic(self, name: str, shares: dict[str, int], sticky: str | None = None) -> AppInfo:
        self._told(name)
        app, versions = self._records.apps[name], self._records.of_app(name)
        return await self._divide(division.divided(app, versions, shares, sticky, now()))

    async def set_shadow(self, name: str, version: str | None, shadow: ShadowSpec) -> AppInfo:
        self._told(name)
        if version is None:
            if not self._end_shadows(name, "by hand"):
                raise RuntimeUserError("NoShadow", f"App {name!r} has no shadow that could be ended.")
            await self._loop.changed()
            return self._told(name)
        found = division.version_named(name, self._records.of_app(name), version)
        app = self._records.apps[name]
        division.refuse_shadow(name, app, found.id, found.spec.version_name)
        self._end_shadows(name, f"{found.spec.version_name} is the shadow now", but=found.id)
        self._records.put_version(replace(found, shadow=_begun(shadow)))
        app = self._records.apps[name]
        return await self._divide(replace(app, shares={**app.shares, found.id: 0}, updated_at=now()))

    def _end_shadows(self, name: str, reason: str, but: str | None = None) -> bool:
        """End the shadow of an app, where it has another one; whether it had."""
        running = [each for each in self._records.of_app(name) if each.is_shadow and each.id != but]
        for version in running:
            assert version.shadow is not None
            self._records.put_version(replace(version, shadow=version.shadow.ended(reason)))
            self._records.put_app(self._records.apps[name].without_shadow(version.id))
        return bool(running)

    async def rollback(self, name: str) -> AppInfo:
        self._told(name)
        app, versions = self._records.apps[name], self._records.of_app(name)
        return await self._divide(division.rolled_back(app, versions, now()))

    async def _divide(self, app: AppRecord) -> AppInfo:
        for version in {app.target, *app.shares}:
            self._loop.forgive(self._records.versions[version])
        self._records.put_app(app)
        await self._loop.changed()
        return self._told(app.name)

    async def set_desired(self, name: str, desired: Literal["active", "stopped"]) -> AppInfo:
        self._told(name)
        if desired == "active":
            self._loop.forgive(self._records.versions[self._records.apps[name].target])
        self._records.put_app(replace(self._records.apps[name], desired=desired, updated_at=now()))
        await self._loop.changed()
        return self._told(name)

    async def wait_stopped(self, name: str, asked: bool = False) -> AppInfo:
        to_stop = asked or self._told(name).desired == "stopped"

        def is_started_again() -> bool:
            app = self._records.apps.get(name)
            return app is None or (to_stop and app.desired == "active")

        versions = {version.id for version in self._records.of_app(name)}
        await self._loop.until(lambda: is_started_again() or not self._records.running(name))
        while not is_started_again() and await asyncio.to_thread(deployment.have_processes, versions):  # noqa: ASYNC110
            await asyncio.sleep(_ENDED_POLL_S)
        info = self._told(name)
        if is_started_again():
            raise RuntimeUserError(
                "StartedAgain", f"App {name!r} was started again before it had stopped; it goes on."
            )
        return info

    async def delete(self, name: str) -> None:
        await self.set_desired(name, "stopped")
        await self.wait_stopped(name, asked=True)
        self._records.forget_app(name)
        await self._loop.changed()  # so that its name is free when this returns

    def sizes(self) -> list[Size]:
        """How many replicas the versions have of which something runs, by app."""
        return self._loop.scaler.sizes()

    # Reports of replicas

    async def replica_ready(self, info: ReplicaInfo) -> None:
        version = self._records.versions.get(info.version)
        # Where it has no backend it has been retired meanwhile, and the replica is being ended.
        if version is not None and version.backend is not None:
            self._records.hear(info.replica_id)
            known = self._records.replicas.get(info.replica_id)
            if known is None or known.info != info:
                self._records.put_replica(info)
                self._loop.came_up(version)
        await self._let_go()

    async def advise(self, replica_id: str, version: str, advice: Advice | None) -> Signals | None:
        return self._loop.scaler.advise(replica_id, version, advice)

    async def replica_failed(self, version: str, error: ErrorInfo) -> None:
        await self._loop.fail(version, error)

    async def part_ready(self, version: str) -> None:
        known = self._records.versions.get(version)
        if known is not None and known.phase is VersionPhase.READY:
            self._loop.came_up(known)

    async def replica_stopping(self, replica_id: str, version: str) -> float:
        await self._loop.lose(replica_id)
        found = self._records.versions.get(version)
        app = self._records.apps.get(found.app) if found else None
        return math.inf if app and app.desired == "active" else _STOPPED_S

    async def _let_go(self) -> None:
        """Have the keeper forget the outputs of followed tasks that no replica serves any more."""
        ready = [replica.info for replica in self._records.replicas.values()]
        if runs := self._outputs.left_behind(self._records.specs(), ready):
            await keeper().let_go(runs)


def _begun(shadow: ShadowSpec) -> ShadowRecord:
    return ShadowRecord(name=uuid4().hex, spec=shadow)


def _check_placement(spec: AppSpec) -> None:
    cluster = nodes.look()
    gets = placement.fitted(spec.environment, cluster, spec.replicas)
    if problem := placement.impossible(gets, cluster, spec.replicas):
        raise PlacementError(
            f"App {spec.name!r} can't run here: {problem}. Ask for less, or connect to a cluster that has it."
        )
    for part in spec.parts:
        asked, replicas = of_part(part)
        if problem := placement.impossible(asked, cluster, replicas):
            raise PlacementError(
                f"Deployment {part.name!r} of app {spec.name!r} can't run here: {problem}. Ask for less, or connect to "
                "a cluster that has it."
            )
