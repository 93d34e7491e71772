"""Apps: what is wanted of them is recorded first, then brought about step by step, by one loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Literal

from flyteray._actors.controller import Apps as AppsDoor
from flyteray._actors.keeper import keeper
from flyteray._cluster import nodes
from flyteray._cluster.images.images import Images
from flyteray._control.apps import reconcile
from flyteray._control.apps.reached import refuse_taken_hosts
from flyteray._control.apps.records import Records
from flyteray._control.apps.sizes import Sizes
from flyteray._control.apps.starting import Starting
from flyteray._control.apps.state import RUNNING, AppRecord, VersionPhase, VersionRecord
from flyteray._control.apps.status import app_info
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.secrets import Secrets
from flyteray._control.runs.outputs import Outputs
from flyteray._declare.near import did_you_mean
from flyteray._ingress.door import ingress
from flyteray._ingress.routes import SLOTS
from flyteray._plan import placement
from flyteray._plan.info import AppInfo, AppPhase, ClusterInfo, ErrorInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec
from flyteray._serve.own_thread import in_own_thread
from flyteray._serve.ray_serve import deployment, own_serve
from flyteray.errors import AppNotFoundError, BaseRuntimeError, PlacementError, RuntimeUserError

_TICK_S = 1.0
_STOPPED_S = 60.0  # for the replicas of an app that somebody has stopped or deleted: they wait for that
_LIVENESS_EVERY = 2  # ticks
_TIDY_EVERY = 10  # ticks
_LISTEN_S = 30.0
_ENDED_POLL_S = 0.1

logger = logging.getLogger(__name__)


class Apps(AppsDoor):
    """The apps of a cluster and the loop that reconciles them.

    Args:
        registry: Where they are remembered.
        cluster: The addresses that apps are reached at.
        images: What makes the images of apps ready.
        keys: Who may use the apps that require auth.
        secrets: What apps ask for.
        outputs: The outputs of runs that apps take.
    """

    def __init__(
        self,
        registry: Registry,
        cluster: ClusterInfo,
        images: Images,
        keys: Keys,
        secrets: Secrets,
        outputs: Outputs,
    ) -> None:
        self._keys = keys
        self._secrets = secrets
        self._outputs = outputs
        self._cluster = cluster
        self._records = records = Records(registry)
        self._begun = asyncio.Event()  # what the registry says of another cluster's replicas is set right
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._sizes = Sizes(records)
        self._starting = Starting(records, images, self._sizes, cluster, self._wake.set)
        self._failed: set[str] = set()  # versions that Serve is still to end
        self._routing = asyncio.Lock()
        self._applied: Any = None

    # What users ask for

    async def serve(self, spec: AppSpec, declared: Sequence[str] = ()) -> AppInfo:
        self._secrets.require(secret.name for secret in spec.environment.secrets)
        spec = await self._outputs.pin(spec, declared)
        await asyncio.to_thread(_check_placement, spec)
        refuse_taken_hosts(spec, self._records.specs())
        most = spec.scaling.most if spec.scaling else spec.replicas
        if most > SLOTS:
            raise ValueError(
                f"App {spec.name!r}: {most} replicas are more than the {SLOTS} that an app can have."
            )
        version_id = spec.version_id
        now = _now()
        app = self._records.apps.get(spec.name)
        known = self._records.versions.get(version_id)
        revision = known.revision if known else (app.revision + 1 if app else 1)
        if known is None:
            self._records.put_version(
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
            self._records.put_version(replace(known, spec=spec))
            self._forgive(self._records.versions[version_id])
        self._records.put_app(
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
        await self._route()  # whoever asks for it from now on waits for it
        return self._told(spec.name)

    async def wait(self, name: str, timeout_s: float) -> AppInfo:
        await self._begun.wait()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._settled(name), timeout_s)
        await self._route()  # what was just decided may be on its way to the ingress still
        return self._told(name)

    async def get(self, name: str) -> AppInfo:
        return self._told(name)

    def _told(self, name: str) -> AppInfo:
        if name not in self._records.apps:
            there = ", ".join(sorted(self._records.apps)) or "none"
            meant = did_you_mean(name, self._records.apps)
            raise AppNotFoundError(f"There is no app {name!r}. Apps on this cluster: {there}.{meant}")
        return self._info(self._records.apps[name])

    async def listall(self) -> list[AppInfo]:
        return [self._info(app) for _, app in sorted(self._records.apps.items())]

    async def replicas(self, name: str) -> list[ReplicaInfo]:
        self._told(name)
        return [
            replica.info
            for version in self._records.of_app(name)
            for replica in self._records.of_version(version.id)
        ]

    async def set_desired(self, name: str, desired: Literal["active", "stopped"]) -> AppInfo:
        self._told(name)
        if desired == "active":
            self._forgive(self._records.versions[self._records.apps[name].target])
        self._records.put_app(replace(self._records.apps[name], desired=desired, updated_at=_now()))
        self._wake.set()
        await self._route()
        return self._told(name)

    async def wait_stopped(self, name: str, asked: bool = False) -> AppInfo:
        to_stop = asked or self._told(name).desired == "stopped"

        def is_started_again() -> bool:
            app = self._records.apps.get(name)
            return app is None or (to_stop and app.desired == "active")

        versions = {version.id for version in self._records.of_app(name)}
        async with self._changed:
            await self._changed.wait_for(lambda: is_started_again() or not self._records.running(name))
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
        self._wake.set()
        await self._route()  # so that who deleted it finds its name free

    async def keys_changed(self) -> None:
        """Have the ingress let in those who have a key now, and nobody else."""
        await self._route()

    # What replicas report

    async def replica_ready(self, info: ReplicaInfo) -> None:
        version = self._records.versions.get(info.version)
        if version is not None and version.backend is not None:
            self._record_ready(info, version)
        # else it is of a version that has been retired meanwhile: it is being ended
        await self._let_go()

    def _record_ready(self, info: ReplicaInfo, version: VersionRecord) -> None:
        self._records.hear(info.replica_id)
        known = self._records.replicas.get(info.replica_id)
        if known is None or known.info != info:
            self._records.put_replica(info)
            self._starting.forgive(info.version)
            if version.error is not None:
                self._records.put_version(replace(version, error=None))  # it was not for long
            self._wake.set()

    async def replica_failed(self, version: str, error: ErrorInfo) -> None:
        found = self._records.versions.get(version)
        if found is not None and found.phase in RUNNING:  # one that is being ended may fail at that
            await self._fail(found, error)

    async def _fail(self, version: VersionRecord, error: ErrorInfo) -> None:
        """A version that is coming up has failed.

        One that serves tries again: at once, or where it has no other replica and may sleep, when it is asked next.
        """
        if version.phase is VersionPhase.DEPLOYING and not self._records.is_serving(version):
            self._records.put_version(replace(version, phase=VersionPhase.FAILED, error=error, backend=None))
            self._failed.add(version.id)  # ended by the loop: asked for anew, it must not be ended after that
            self._wake.set()
        elif version.error != error:  # Serve's word for one that died is heard again and again
            self._records.put_version(replace(version, error=error))
            logger.warning("A replica of %s could not start: %s", version.id, error.message)
        if version.phase is VersionPhase.READY and not self._records.of_version(version.id):
            self._sizes.failed(version.id)
            await self._route()  # who waits for it is told
            self._wake.set()

    async def replica_stopping(self, replica_id: str, version: str) -> float:
        if self._records.forget_replica(replica_id):
            await self._route()
        found = self._records.versions.get(version)
        app = self._records.apps.get(found.app) if found else None
        return math.inf if app and app.desired == "active" else _STOPPED_S

    async def _let_go(self) -> None:
        """Have the keeper forget the outputs of followed tasks that no replica serves any more."""
        ready = [replica.info for replica in self._records.replicas.values()]
        if runs := self._outputs.left_behind(self._records.specs(), ready):
            await keeper().let_go(runs)

    # The loop

    async def run(self) -> None:
        """Reconcile for as long as the controller lives."""
        for tick in itertools.count():
            try:
                if not self._begun.is_set():
                    await asyncio.to_thread(own_serve.start)
                    self._find(await asyncio.to_thread(deployment.sizes))
                    self._begun.set()
                if tick % _LIVENESS_EVERY == 0:
                    await self._bury_the_dead()
                    await self._fail_what_died()
                if tick % _TIDY_EVERY == 0:
                    await self._end_what_nobody_wants()
                await self._reconcile()
                await self._sizes.adjust()
            except Exception:
                logger.exception("Reconciling apps failed; the next tick tries again")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            self._wake.clear()

    def _find(self, deployed: Mapping[str, int]) -> None:
        """Go by what is there: what the registry says runs, but doesn't, ran on a cluster that is gone."""
        for version in list(self._records.versions.values()):
            if version.phase in RUNNING and version.id not in deployed:
                phase = VersionPhase.PENDING if self._records.is_wanted(version) else VersionPhase.RETIRED
                self._records.put_version(replace(version, phase=phase, backend=None, draining_since=None))
        for replica in list(self._records.replicas.values()):
            if replica.info.version not in deployed:
                self._records.forget_replica(replica.info.replica_id)
        for version_id, replicas in deployed.items():
            self._sizes.asked(version_id, replicas)

    async def _bury_the_dead(self) -> None:
        if not self._records.replicas:
            return
        # A question to a cluster that is gone is never answered, and this one is asked all the time.
        answer, _ = in_own_thread("Ray Serve", deployment.replicas_alive)
        alive = await answer
        for replica in list(self._records.replicas.values()):
            if replica.info.actor_name not in alive:
                await self.replica_stopping(replica.info.replica_id, replica.info.version)

    async def _fail_what_died(self) -> None:
        """A replica whose process is killed while it starts reports nothing: Serve tells when it has given up."""
        for version in list(self._records.versions.values()):
            coming = version.phase is VersionPhase.DEPLOYING and not self._starting.is_building(version.id)
            if coming or self._sizes.is_waking(version.id):
                status = await asyncio.to_thread(deployment.status, version.id)
                if status is not None and (status.has_given_up if coming else status.is_failing):
                    if version.error is None:  # else a replica could tell more
                        await self.replica_failed(version.id, _died(status.message))
                    if coming:
                        await self._starting.again_later(version.id)

    async def _end_what_nobody_wants(self) -> None:
        """Serve may have been asked for a version just before, or not been told that it has ended."""
        for version_id in await asyncio.to_thread(deployment.sizes):
            version = self._records.versions.get(version_id)
            if version is None or version.phase in (VersionPhase.RETIRED, VersionPhase.FAILED):
                await asyncio.to_thread(deployment.undeploy, version_id)

    async def _reconcile(self) -> None:
        while self._failed:
            await asyncio.to_thread(deployment.undeploy, self._failed.pop())
        draining = [
            version.backend
            for version in self._records.versions.values()
            if version.phase is VersionPhase.DRAINING and version.backend is not None
        ]
        sessions = await ingress().sessions(draining) if draining else {}
        apps, versions = dict(self._records.apps), dict(self._records.versions)
        steps = reconcile.next_steps(
            apps.values(), versions.values(), self._records.replicas.values(), sessions, _now()
        )
        for step in steps:
            version = versions[step.version]
            app = self._records.apps.get(version.app)
            if self._records.versions.get(version.id) is version and app is apps.get(version.app):
                await self._take(step, version)
            else:
                self._wake.set()  # while an earlier step was taken it changed: it is looked at again
        await self._route()
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, step: reconcile.Step, version: VersionRecord) -> None:
        if isinstance(step, reconcile.Deploy) and not self._starting.is_due(version.id):
            return
        logger.info("%s %s", type(step).__name__, version.id)
        match step:
            case reconcile.Deploy():
                await self._starting.start(version)
            case reconcile.Promote():
                self._records.put_version(replace(version, phase=VersionPhase.READY))
                self._records.put_app(
                    replace(self._records.apps[step.app], serving=version.id, updated_at=_now())
                )
            case reconcile.Drain():
                self._records.put_version(
                    replace(version, phase=VersionPhase.DRAINING, draining_since=_now())
                )
            case reconcile.Resume():
                self._records.put_version(replace(version, phase=VersionPhase.READY, draining_since=None))
            case reconcile.Retire():
                self._records.put_version(
                    replace(version, phase=VersionPhase.RETIRED, backend=None, draining_since=None)
                )
                for replica in self._records.of_version(version.id):
                    self._records.forget_replica(replica.info.replica_id)
                await self._route()  # before its replicas end
                await asyncio.to_thread(deployment.undeploy, version.id)

    async def _route(self) -> None:
        async with self._routing:  # a state must not arrive after a later one
            state = reconcile.ingress_state(
                self._records.apps.values(),
                self._records.versions.values(),
                self._records.replicas.values(),
                self._keys.names(),
                self._cluster.auth,
                self._sizes.resting(),
                self._sizes.lacking(),
                self._records.silent(),
            )
            if state != self._applied:
                await ingress().apply(state)
                self._applied = state

    async def wake_sleepers(self) -> None:
        """Reconcile as soon as a request waits for a replica, rather than with the next tick, for ever."""
        while True:
            try:
                if await ingress().need(_LISTEN_S):
                    self._wake.set()
            except BaseRuntimeError:
                logger.warning("The ingress does not tell who waits; it is asked again", exc_info=True)
                await asyncio.sleep(_TICK_S)

    # What is known

    def _info(self, app: AppRecord) -> AppInfo:
        waiting = self._sizes.waiting(app.target)
        if self._starting.is_building(app.target):
            waiting = "waits for its image, which is being built"
        wanted = self._sizes.wanted(app.serving or app.target)
        resting = app.serving in self._sizes.resting()
        return app_info(
            app,
            self._records.versions,
            self._records.replicas.values(),
            self._cluster,
            waiting,
            wanted,
            resting,
        )

    async def _settled(self, name: str) -> None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    name not in self._records.apps
                    or self._info(self._records.apps[name]).phase is not AppPhase.DEPLOYING
                )
            )

    def _forgive(self, version: VersionRecord) -> None:
        """Asked for anew, a version that failed gets another chance, at once."""
        self._starting.forgive(version.id)
        if version.phase is VersionPhase.FAILED:
            self._records.put_version(replace(version, phase=VersionPhase.PENDING, error=None))


def _check_placement(spec: AppSpec) -> None:
    cluster = nodes.look()
    problem = placement.impossible(
        placement.fitted(spec.environment, cluster, spec.replicas), cluster, spec.replicas
    )
    if problem is not None:
        raise PlacementError(
            f"App {spec.name!r} can't run here: {problem}. Ask for less, or connect to a cluster that has it."
        )


def _died(serves_word: str) -> ErrorInfo:
    told = "The processes of its replicas ended while they started, most likely for memory."
    return ErrorInfo(code="ReplicaDied", message=f"{told} Ray Serve says: {serves_word}")


def _now() -> datetime:
    return datetime.now(timezone.utc)
