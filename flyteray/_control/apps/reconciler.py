"""The reconciler brings about what is wanted of apps, step by step, and tells the ingress of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flyteray._cluster.images.images import Images
from flyteray._control.apps import reconcile
from flyteray._control.apps.deployer import Deployer
from flyteray._control.apps.ingresses import Ingresses
from flyteray._control.apps.records import Records
from flyteray._control.apps.scaler import Scaler
from flyteray._control.apps.state import RUNNING, AppRecord, VersionPhase, VersionRecord
from flyteray._control.apps.status import app_info
from flyteray._control.apps.traffic.canaries import Asked, Canaries
from flyteray._control.apps.traffic.shadows import AskedOfCopies, Shadows
from flyteray._control.registry.database import now
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.secrets import Secrets
from flyteray._ingress.entry.grants import signed
from flyteray._machine.threads import in_own_thread
from flyteray._plan.info import STARTUP_TIMEOUT, AppInfo, ClusterInfo, ErrorInfo
from flyteray._serve.ray_serve import deployment, own_serve
from flyteray.errors import RegistryUnavailableError

_TICK_S = 1.0
_LIVENESS_EVERY = 2  # ticks
_TIDY_EVERY = 10  # ticks

logger = logging.getLogger(__name__)


class Reconciler:
    """The loop that takes the steps from what is observed of apps to what is wanted of them."""

    def __init__(
        self,
        records: Records,
        cluster: ClusterInfo,
        images: Images,
        keys: Keys,
        secrets: Secrets,
        ingresses: Ingresses,
        figures: Asked,
        compared: AskedOfCopies,
        wake: asyncio.Event,
    ) -> None:
        self._records = records
        self._cluster = cluster
        self._keys = keys
        self._secrets = secrets
        self._begun = asyncio.Event()  # replicas that ran on another cluster are no longer counted on
        self._ingresses = ingresses
        self._wake = wake
        self._round = asyncio.Condition()
        self.scaler = Scaler(records, ingresses.traffic, figures)
        self._canaries = Canaries(records, figures)
        self._shadows = Shadows(records, compared)
        self._deployer = Deployer(records, images, self.scaler, cluster, self._wake.set)
        self._failed: set[str] = set()  # versions that Serve is still to end
        self._routing = asyncio.Lock()
        keys.watch(self.route)
        self._applied: Any = None

    async def changed(self) -> None:
        """Tell the ingress at once of apps that were changed, and have the next round of steps begin."""
        self._wake.set()
        await self.route()

    async def begun(self) -> None:
        """Wait until the records of apps are true of this cluster."""
        await self._begun.wait()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, which is looked at after each round of steps."""
        async with self._round:
            await self._round.wait_for(holds)

    def forgive(self, version: VersionRecord) -> None:
        """Give a version that failed another chance, at once: it was asked for anew."""
        self._deployer.forgive(version.id)
        if version.phase is VersionPhase.FAILED:
            self._records.put_version(replace(version, phase=VersionPhase.PENDING, error=None))

    def came_up(self, version: VersionRecord) -> None:
        """Note that a replica of a version is ready: the version has no error any more."""
        self._deployer.forgive(version.id)
        if version.error is not None:
            self._records.put_version(replace(version, error=None))  # it was not for long
        self._wake.set()

    async def fail(self, version_id: str, error: ErrorInfo) -> None:
        """Note that a replica of a version could not start. A version that is coming up has failed with it.

        One that serves tries again: at once, or where it has no other replica and may sleep, with its next request.
        """
        version = self._records.versions.get(version_id)
        if version is None or version.phase not in RUNNING:
            return  # one that is being ended may fail at that
        if version.phase is VersionPhase.DEPLOYING and not self._records.is_serving(version):
            self._records.put_version(replace(version, phase=VersionPhase.FAILED, error=error, backend=None))
            self._failed.add(version.id)  # ended by the loop: asked for anew, it must not be ended after that
            self._wake.set()
        elif version.error != error:  # Serve's word for one that died is heard again and again
            self._records.put_version(replace(version, error=error))
            logger.warning("A replica of %s could not start: %s", version.id, error.message)
        if version.phase is VersionPhase.READY and not self._records.of_version(version.id):
            self.scaler.counts.failed(version.id)
            await self.route()  # requests that wait for it are told
            self._wake.set()

    async def lose(self, replica_id: str) -> None:
        """Have a replica be sent no more requests."""
        if self._records.forget_replica(replica_id):
            self._wake.set()  # another one may wait for it to go
            await self.route()

    def info(self, app: AppRecord) -> AppInfo:
        """An app as it is now."""
        waiting = self.scaler.waiting.get(app.target)
        if self._deployer.is_building(app.target):
            waiting = "waits for its image, which is being built"
        return app_info(
            app,
            self._records.versions,
            self._records.replicas.values(),
            self._cluster,
            waiting,
            replicas_wanted=self.scaler.counts.wanted(app.serving or app.target),
            resting=app.serving in self.scaler.counts.resting(),
            unreached=self._ingresses.unreached,
            why=self.scaler.counts.why(app.serving or app.target),
        )

    async def run(self) -> None:
        """Reconcile for as long as the controller lives."""
        for tick in itertools.count():
            try:
                if not self._begun.is_set():
                    await asyncio.to_thread(own_serve.start)
                    self._find(await asyncio.to_thread(deployment.sizes))
                    self._begun.set()
                if tick % _LIVENESS_EVERY == 0:
                    await self._lose_dead_replicas()
                    await self._fail_given_up_versions()
                    await self._fail_overdue_versions()
                if tick % _TIDY_EVERY == 0:
                    await self._end_unwanted_versions()
                await self._reconcile()
                if await self._canaries.look() or await self._shadows.look():
                    await self.changed()
                if await self.scaler.adjust():
                    await self.route()
            except RegistryUnavailableError as error:
                logger.warning("Apps are reconciled when the next tick finds the registry: %s", error)
            except Exception:
                logger.exception("Reconciling apps failed; the next tick tries again")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            self._wake.clear()

    def _find(self, deployed: Mapping[str, int]) -> None:
        """Go by the versions that are there: one that runs by the registry alone did so on a cluster that is gone."""
        for version in list(self._records.versions.values()):
            if version.phase in RUNNING and version.id not in deployed:
                phase = VersionPhase.PENDING if self._records.is_wanted(version) else VersionPhase.RETIRED
                self._records.put_version(replace(version, phase=phase, backend=None, draining_since=None))
        for replica in list(self._records.replicas.values()):
            if replica.info.version not in deployed:
                self._records.forget_replica(replica.info.replica_id)
        for version_id, replicas in deployed.items():
            self.scaler.counts.asked(version_id, replicas)

    async def _lose_dead_replicas(self) -> None:
        if not self._records.replicas:
            return
        # A question to a cluster that is gone is never answered, and this one is asked all the time.
        answer, _ = in_own_thread("Ray Serve", deployment.replicas_alive)
        alive = await answer
        for replica in list(self._records.replicas.values()):
            if replica.info.actor_name not in alive:
                await self.lose(replica.info.replica_id)

    async def _fail_given_up_versions(self) -> None:
        """A replica whose process is killed while it starts reports nothing: Serve tells when it has given up."""
        for version in list(self._records.versions.values()):
            coming = version.phase is VersionPhase.DEPLOYING and not self._deployer.is_building(version.id)
            if coming or self.scaler.is_waking(version.id):
                status = await asyncio.to_thread(deployment.status, version.id)
                if status is not None and (status.has_given_up if coming else status.is_failing):
                    if version.error is None:  # else a replica could tell more
                        await self.fail(version.id, _died(status.message))
                    if coming:
                        await self._deployer.again_later(version.id)

    async def _fail_overdue_versions(self) -> None:
        """A version that is not ready in time beside one that serves is taken back: the other has all it needs."""
        for version in list(self._records.versions.values()):
            app = self._records.apps.get(version.app)
            if self._deployer.is_overdue(version) and app and app.serving not in (None, version.id):
                ready = len(self._records.of_version(version.id))
                await self.fail(version.id, _overdue(version, ready, self.scaler.waiting.get(version.id)))

    async def _end_unwanted_versions(self) -> None:
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
        sessions = await self._ingresses.sessions(draining) if draining else {}
        apps, versions = dict(self._records.apps), dict(self._records.versions)
        steps = reconcile.next_steps(
            apps.values(), versions.values(), self._records.replicas.values(), sessions, now()
        )
        for step in steps:
            version = versions[step.version]
            app = self._records.apps.get(version.app)
            if self._records.versions.get(version.id) is version and app is apps.get(version.app):
                await self._take(step, version)
            else:
                self._wake.set()  # while an earlier step was taken it changed: it is looked at again
        await self.route()
        async with self._round:
            self._round.notify_all()

    async def _take(self, step: reconcile.Step, version: VersionRecord) -> None:
        if isinstance(step, reconcile.Deploy) and not self._deployer.is_due(version.id):
            return
        logger.info("%s %s", type(step).__name__, version.id)
        match step:
            case reconcile.Deploy():
                await self._deployer.start(version)
            case reconcile.Ready():
                self._records.put_version(replace(version, phase=VersionPhase.READY))
            case reconcile.Promote():
                self._records.put_version(replace(version, phase=VersionPhase.READY))
                self._records.put_app(self._records.apps[step.app].promoted(now()))
            case reconcile.TakeBack():
                app = self._records.apps[step.app]
                app = app.without_shadow(version.id) if version.is_shadow else app.without(version.id)
                self._records.put_app(replace(app, updated_at=now()))
            case reconcile.Drain():
                self._records.put_version(replace(version, phase=VersionPhase.DRAINING, draining_since=now()))
            case reconcile.Resume():
                self._records.put_version(replace(version, phase=VersionPhase.READY, draining_since=None))
            case reconcile.Retire():
                self._records.put_version(
                    replace(version, phase=VersionPhase.RETIRED, backend=None, draining_since=None)
                )
                for replica in self._records.of_version(version.id):
                    self._records.forget_replica(replica.info.replica_id)
                await self.route()  # before its replicas end
                await asyncio.to_thread(deployment.undeploy, version.id)

    async def route(self) -> None:
        """Tell the ingress where requests go from now on."""
        async with self._routing:  # a state must not arrive after a later one
            falling_asleep = self.scaler.falling_asleep()
            state = reconcile.ingress_state(
                self._records.apps.values(),
                self._records.versions.values(),
                [each for each in self._records.replicas.values() if each.info.version not in falling_asleep],
                signed(self._keys.grants(), self._secrets.sign_in),
                self._cluster.auth,
                self.scaler.counts.resting() | falling_asleep,
                self.scaler.waiting,
                self._records.silent(),
            )
            if state != self._applied:
                await self._ingresses.apply(state)
                self._applied = state


def _died(serves_word: str) -> ErrorInfo:
    told = "The processes of its replicas ended while they started, most likely for memory."
    return ErrorInfo(code="ReplicaDied", message=f"{told} Ray Serve says: {serves_word}")


def _overdue(version: VersionRecord, ready: int, waits: str | None) -> ErrorInfo:
    told = f"it {waits}" if waits else f"{ready} of its replicas are ready"
    return ErrorInfo(
        code=STARTUP_TIMEOUT,
        message=f"not within the {version.spec.startup_timeout_s:g} s that it has: {told}. "
        "with_servecontext(activate_timeout=...) gives a version more time.",
    )
