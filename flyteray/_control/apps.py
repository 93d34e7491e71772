"""Apps: what is wanted of them is recorded first, then brought about step by step, by one loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import ray

from flyteray._cluster import actors, nodes
from flyteray._cluster.images import NO_IMAGE, Images, Start
from flyteray._control import reconcile
from flyteray._control.reached import refuse_taken_hosts
from flyteray._control.registry import Registry
from flyteray._control.replica_counts import ReplicaCounts, follows_traffic
from flyteray._control.state import AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._control.status import app_info
from flyteray._ingress.routes import POOL, SLOTS
from flyteray._plan import failure, placement
from flyteray._plan.spec import AppInfo, AppPhase, AppSpec, ClusterInfo, ErrorInfo, ReplicaInfo
from flyteray._serve import deployment
from flyteray.errors import AppNotFoundError, PlacementError, RuntimeSystemError

_TICK_S = 1.0
_LIVENESS_EVERY = 2  # ticks

logger = logging.getLogger(__name__)


class Apps:
    """The apps of a cluster and the loop that reconciles them.

    Args:
        registry: Where they are remembered.
        cluster: The addresses that apps are reached at.
        images: What makes the images of apps ready.
    """

    def __init__(self, registry: Registry, cluster: ClusterInfo, images: Images) -> None:
        self._registry = registry
        self._images = images
        self._cluster = cluster
        self._apps = {app.name: app for app in registry.load_apps()}
        self._versions = {version.id: version for version in registry.load_versions()}
        self._replicas = {replica.info.replica_id: replica for replica in registry.load_replicas()}
        self._building: dict[str, asyncio.Task[None]] = {}  # by version
        self._waiting: dict[str, str] = {}  # by version: what keeps its replicas from starting
        self._begun = asyncio.Event()  # what the registry says of another cluster's replicas is set right
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._replica_counts = ReplicaCounts()
        self._routing = asyncio.Lock()
        self._applied: Any = None

    # What users ask for

    async def serve(self, spec: AppSpec) -> AppInfo:
        """Make ``spec`` the wanted version of its app; an unchanged one that serves is left alone.

        Raises:
            ValueError: more replicas than the ingress has room for, a host name that another app has, or a version's
                name that stands for something else already.
            PlacementError: the cluster's nodes can't take its replicas, busy or not.
        """
        await asyncio.to_thread(_check_placement, spec)
        refuse_taken_hosts(spec, self._wanted_specs())
        most = spec.scaling.most if spec.scaling else spec.replicas
        if most > SLOTS:
            raise ValueError(
                f"App {spec.name!r}: {most} replicas are more than the {SLOTS} that an app can have."
            )
        version_id = spec.version_id
        now = _now()
        app = self._apps.get(spec.name)
        known = self._versions.get(version_id)
        revision = known.revision if known else (app.revision + 1 if app else 1)
        if known is None:
            self._put_version(
                VersionRecord(
                    id=version_id,
                    app=spec.name,
                    spec=spec,
                    revision=revision,
                    phase=VersionPhase.PENDING,
                    backend=None,
                    error=None,
                    created_at=now,
                    draining_since=None,
                )
            )
        elif known.spec.digest() != spec.digest():
            raise ValueError(
                f"App {spec.name!r} has a version {spec.version!r} already, and it is not what is deployed now. A "
                "version never changes: choose another name for this one."
            )
        else:
            # How it is reached may have changed: that is no part of what a version is.
            self._put_version(replace(known, spec=spec))
            self._forgive(self._versions[version_id])
        self._put_app(
            AppRecord(
                name=spec.name,
                desired="active",
                target=version_id,
                serving=app.serving if app and app.desired == "active" else None,
                revision=max(revision, app.revision if app else 0),
                created_at=app.created_at if app else now,
                updated_at=now,
            )
        )
        self._wake.set()
        return self.get(spec.name)

    async def wait(self, name: str, timeout_s: float) -> AppInfo:
        """The app as soon as its target serves, has failed, or is stopped; or as it is after ``timeout_s``."""
        await self._begun.wait()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._settled(name), timeout_s)
        return self.get(name)

    def get(self, name: str) -> AppInfo:
        """An app; AppNotFoundError with the names there are where there is none."""
        if name not in self._apps:
            there = ", ".join(sorted(self._apps)) or "none"
            raise AppNotFoundError(f"There is no app {name!r}. Apps on this cluster: {there}.")
        return self._info(self._apps[name])

    def all(self) -> list[AppInfo]:
        """All apps by name."""
        return [self._info(app) for _, app in sorted(self._apps.items())]

    def replicas(self, name: str) -> list[ReplicaInfo]:
        """The replicas of an app that are ready, of all of its versions; errors as in :meth:`get`."""
        self.get(name)
        versions = {version.id for version in self._versions.values() if version.app == name}
        return [each.info for each in self._replicas.values() if each.info.version in versions]

    async def set_desired(self, name: str, desired: Any) -> AppInfo:
        """Start (``"active"``) or stop (``"stopped"``) an app."""
        self.get(name)
        if desired == "active":
            self._forgive(self._versions[self._apps[name].target])
        self._put_app(replace(self._apps[name], desired=desired, updated_at=_now()))
        self._wake.set()
        return self.get(name)

    async def wait_stopped(self, name: str) -> AppInfo:
        """A stopped app when nothing of it runs any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._running(name))
        return self.get(name)

    async def delete(self, name: str) -> None:
        """Stop an app, end its replicas, forget it. What is in flight may end first."""
        await self.set_desired(name, "stopped")
        await self.wait_stopped(name)
        self._registry.delete_app(name)
        del self._apps[name]
        for version in [version for version in self._versions.values() if version.app == name]:
            del self._versions[version.id]
        self._wake.set()
        await self._route()  # so that who deleted it finds its name free

    def running_specs(self) -> list[AppSpec]:
        """The versions that are wanted, or of which something runs."""
        return [
            version.spec
            for version in self._versions.values()
            if version.phase in reconcile.RUNNING or self._is_wanted(version)
        ]

    def ready_replicas(self) -> list[ReplicaInfo]:
        """The replicas of all apps that are ready."""
        return [replica.info for replica in self._replicas.values()]

    # What replicas report

    async def replica_ready(self, info: ReplicaInfo) -> None:
        """A replica listens. Reports may repeat."""
        version = self._versions.get(info.version)
        if version is None or version.backend is None:
            return  # of a version that has been retired meanwhile: it is being ended
        known = self._replicas.get(info.replica_id)
        if known is not None and known.info == info:
            return
        if known is not None:
            record = replace(known, info=info)
        else:
            taken = {other.slot for other in self._replicas.values() if other.info.version == info.version}
            slot = next(number for number in range(1, SLOTS + 1) if number not in taken)
            record = ReplicaRecord(info=info, slot=slot)
        self._replicas[info.replica_id] = record
        self._registry.save_replica(record)
        self._wake.set()

    async def replica_failed(self, version_id: str, error: ErrorInfo) -> None:
        """A replica could not start. A version that is coming up has failed with it; one that serves tries again."""
        version = self._versions.get(version_id)
        if version is None:
            return
        if version.phase is VersionPhase.DEPLOYING and not self._restoring(version):
            self._put_version(replace(version, phase=VersionPhase.FAILED, error=error, backend=None))
            await asyncio.to_thread(deployment.undeploy, version_id)
            self._wake.set()
        else:
            logger.warning("A replica of %s could not start: %s", version_id, error.message)

    async def replica_stopping(self, replica_id: str) -> None:
        """A replica takes no more requests."""
        if self._replicas.pop(replica_id, None) is not None:
            self._registry.delete_replica(replica_id)
            await self._route()

    # The loop

    async def run(self) -> None:
        """Reconcile for as long as the controller lives."""
        for tick in itertools.count():
            try:
                if not self._begun.is_set():
                    await asyncio.to_thread(deployment.start_serve)
                    self._forget_other_clusters(await asyncio.to_thread(self._deployed))
                    self._begun.set()
                if tick % _LIVENESS_EVERY == 0:
                    await self._bury_the_dead()
                    await self._fail_what_died()
                await self._reconcile()
                await self._scale()
            except Exception:
                logger.exception("Reconciling apps failed; the next tick tries again")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            self._wake.clear()

    def _deployed(self) -> set[str]:
        return {version for version in self._versions if deployment.status(version) is not None}

    def _forget_other_clusters(self, deployed: set[str]) -> None:
        """What the registry says runs, but doesn't: the cluster that ran it is gone."""
        for version in list(self._versions.values()):
            if version.phase in reconcile.RUNNING and version.id not in deployed:
                self._put_version(
                    replace(version, phase=VersionPhase.PENDING, backend=None, draining_since=None)
                    if self._is_wanted(version)
                    else replace(version, phase=VersionPhase.RETIRED, backend=None, draining_since=None)
                )
        for replica in list(self._replicas.values()):
            if replica.info.version not in deployed:
                del self._replicas[replica.info.replica_id]
                self._registry.delete_replica(replica.info.replica_id)

    async def _bury_the_dead(self) -> None:
        for replica in list(self._replicas.values()):
            if not await asyncio.to_thread(_is_alive, replica.info.actor_name):
                await self.replica_stopping(replica.info.replica_id)

    async def _fail_what_died(self) -> None:
        """A replica whose process is killed while it starts reports nothing: Serve tells when it has given up."""
        for version in list(self._versions.values()):
            if version.phase is VersionPhase.DEPLOYING and version.id not in self._building:
                status = await asyncio.to_thread(deployment.status, version.id)
                if status is not None and status.has_given_up:
                    told = "The processes of its replicas ended while they started, most likely for memory."
                    error = ErrorInfo(code="ReplicaDied", message=f"{told} Ray Serve says: {status.message}")
                    await self.replica_failed(version.id, error)

    async def _reconcile(self) -> None:
        draining = [
            version.backend
            for version in self._versions.values()
            if version.phase is VersionPhase.DRAINING and version.backend is not None
        ]
        sessions = await actors.acall(actors.INGRESS, "sessions", draining) if draining else {}
        steps = reconcile.next_steps(
            self._apps.values(), self._versions.values(), self._replicas.values(), sessions, _now()
        )
        for step in steps:
            await self._take(step)
        await self._route()
        await self._look_who_waits()
        async with self._changed:
            self._changed.notify_all()

    async def _look_who_waits(self) -> None:
        """Learn what the replicas wait for that Ray has not placed."""
        ready = Counter(replica.info.version for replica in self._replicas.values())
        short = [
            version
            for version in (
                self._versions[app.target] for app in self._apps.values() if app.desired == "active"
            )
            if version.phase in (VersionPhase.DEPLOYING, VersionPhase.READY)
            and ready[version.id] < (self._replica_counts.wanted(version.id) or version.spec.replicas)
        ]
        cluster = await asyncio.to_thread(nodes.look) if short else None
        known, self._waiting = self._waiting, {}
        for version in short:
            waits = placement.waiting(version.spec.environment, cluster) if cluster else None
            if waits is None or not await asyncio.to_thread(deployment.has_unplaced, version.id):
                continue
            self._waiting[version.id] = waits
            if version.id not in known:
                logger.info("A replica of %s %s", version.id, waits)

    async def _scale(self) -> None:
        """Ask for as many replicas as the traffic of each version that serves needs."""
        serving = {app.serving for app in self._apps.values() if app.desired == "active"}
        versions = [
            version
            for version in self._versions.values()
            if (version.phase is VersionPhase.READY and version.id in serving)
            or (version.phase is VersionPhase.DEPLOYING and version.id not in self._building)
        ]
        ready = Counter(replica.info.version for replica in self._replicas.values())
        followed = [version.backend for version in versions if follows_traffic(version)]
        traffic = await actors.acall(actors.INGRESS, "traffic", followed) if followed else {}
        changes = self._replica_counts.changes(versions, ready, traffic, time.monotonic())
        for version, replicas in changes.items():
            try:
                await asyncio.to_thread(deployment.scale, version, replicas)
            except Exception as error:  # noqa: BLE001  # whatever Serve says of this one, the others go on
                logger.warning("Serve does not give %s %d replicas yet: %s", version, replicas, error)
            else:
                logger.info("%d replicas of %s", replicas, version)
                self._replica_counts.asked(version, replicas)

    async def _take(self, step: reconcile.Step) -> None:
        version = self._versions[step.version]
        logger.info("%s %s", type(step).__name__, version.id)
        match step:
            case reconcile.Deploy():
                await self._deploy(version)
            case reconcile.Promote():
                self._put_version(replace(version, phase=VersionPhase.READY))
                self._put_app(replace(self._apps[step.app], serving=version.id, updated_at=_now()))
            case reconcile.Drain():
                self._put_version(replace(version, phase=VersionPhase.DRAINING, draining_since=_now()))
            case reconcile.Resume():
                self._put_version(replace(version, phase=VersionPhase.READY, draining_since=None))
            case reconcile.Retire():
                self._put_version(
                    replace(version, phase=VersionPhase.RETIRED, backend=None, draining_since=None)
                )
                for replica in [r for r in self._replicas.values() if r.info.version == version.id]:
                    del self._replicas[replica.info.replica_id]
                    self._registry.delete_replica(replica.info.replica_id)
                await self._route()  # before its replicas end
                await asyncio.to_thread(deployment.undeploy, version.id)

    async def _deploy(self, version: VersionRecord) -> None:
        try:
            self._put_version(
                replace(version, phase=VersionPhase.DEPLOYING, backend=self._free_backend(), error=None)
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
        self._wake.set()

    async def _hand_over(self, version: VersionRecord, start: Start) -> None:
        runtime_env = self._runtime_env(version.spec) | dict(start)
        app = self._apps.get(version.app)
        replicas = self._replica_counts.first(version, app.serving if app else None)
        await asyncio.to_thread(
            deployment.deploy, version.id, version.id, version.spec, runtime_env, replicas
        )
        self._replica_counts.asked(version.id, replicas)

    def _give_up(self, version: VersionRecord, error: Exception) -> None:
        if self._is_deploying(version):
            described = failure.describe(error)
            self._put_version(replace(version, phase=VersionPhase.FAILED, backend=None, error=described))

    def _is_deploying(self, version: VersionRecord) -> bool:
        """Whether it is wanted still: meanwhile it may have been replaced, stopped or deleted."""
        known = self._versions.get(version.id)
        return known is not None and known.phase in (VersionPhase.PENDING, VersionPhase.DEPLOYING)

    async def _route(self) -> None:
        async with self._routing:  # a state must not arrive after a later one
            state = reconcile.ingress_state(
                self._apps.values(), self._versions.values(), self._replicas.values()
            )
            if state != self._applied:
                await actors.acall(actors.INGRESS, "apply", state)
                self._applied = state

    # What is known

    def _info(self, app: AppRecord) -> AppInfo:
        waiting = self._waiting.get(app.target)
        if app.target in self._building:
            waiting = "waits for its image, which is being built"
        wanted = self._replica_counts.wanted(app.serving or app.target)
        return app_info(app, self._versions, self._replicas.values(), self._cluster, waiting, wanted)

    async def _settled(self, name: str) -> None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: name not in self._apps or self._info(self._apps[name]).phase is not AppPhase.DEPLOYING
            )

    def _wanted_specs(self) -> list[AppSpec]:
        ids = {version for app in self._apps.values() for version in (app.target, app.serving) if version}
        return [self._versions[version].spec for version in ids if version in self._versions]

    def _running(self, name: str) -> list[VersionRecord]:
        return [v for v in self._versions.values() if v.app == name and v.phase in reconcile.RUNNING]

    def _is_wanted(self, version: VersionRecord) -> bool:
        app = self._apps.get(version.app)
        return app is not None and app.desired == "active" and version.id in (app.target, app.serving)

    def _restoring(self, version: VersionRecord) -> bool:
        """Whether it has served before, so that a failure now is the new cluster's rather than its own."""
        app = self._apps.get(version.app)
        return app is not None and app.serving == version.id

    def _runtime_env(self, spec: AppSpec) -> dict[str, Any]:
        ours = {
            "FLYTERAY_CODE": spec.code.bundle or spec.code.version,
            "INTERNAL_APP_ENDPOINT_PATTERN": self._cluster.endpoint_pattern,
        }
        return {"env_vars": ours | spec.environment.env_vars}

    def _forgive(self, version: VersionRecord) -> None:
        """Asked for anew, a version that failed gets another chance."""
        if version.phase is VersionPhase.FAILED:
            self._put_version(replace(version, phase=VersionPhase.PENDING, error=None))

    def _free_backend(self) -> int:
        taken = {version.backend for version in self._versions.values()}
        free: int | None = next((number for number in range(POOL) if number not in taken), None)
        if free is None:
            raise RuntimeSystemError("TooManyVersions", f"All {POOL} places in the ingress are taken.")
        return free

    def _put_app(self, app: AppRecord) -> None:
        self._registry.save_app(app)
        self._apps[app.name] = app

    def _put_version(self, version: VersionRecord) -> None:
        self._registry.save_version(version)
        self._versions[version.id] = version


def _check_placement(spec: AppSpec) -> None:
    problem = placement.impossible(spec.environment, nodes.look(), spec.replicas)
    if problem is not None:
        raise PlacementError(
            f"App {spec.name!r} can't run here: {problem}. Ask for less, or connect to a cluster that has it."
        )


def _is_alive(actor_name: str) -> bool:
    try:
        ray.get_actor(actor_name, namespace="serve")
    except ValueError:
        return False
    return True


def _now() -> datetime:
    return datetime.now(timezone.utc)
