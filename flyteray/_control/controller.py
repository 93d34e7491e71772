"""The controller: the one actor that everybody talks to, by noun. It owns the registry, and is on no request's path."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path

import ray

from flyteray._actors.controller import Code
from flyteray._actors.controller import Controller as ControllerDoor
from flyteray._actors.keeper import keeper
from flyteray._cluster import local, node_types, nodes, processes
from flyteray._cluster.images.images import Images
from flyteray._cluster.sharing import SharedStorage
from flyteray._control.actors import IngressOptions, endpoint_pattern, follow_head
from flyteray._control.apps.apps import Apps
from flyteray._control.apps.ingresses import Ingresses
from flyteray._control.registry.registry import Registry
from flyteray._control.registry.secrets import Secrets
from flyteray._control.registry.store.lease import Holder
from flyteray._control.runs.conditions import Conditions
from flyteray._control.runs.leases import Leases
from flyteray._control.runs.notifier import Notifier
from flyteray._control.runs.outputs import Outputs
from flyteray._control.runs.retention import Retention
from flyteray._control.runs.runs import Runs
from flyteray._control.runs.supervisor import Supervisor
from flyteray._control.runs.waiting import Waiting
from flyteray._control.traffic.seen import SeenTraffic
from flyteray._control.traffic.traffic import Traffic
from flyteray._control.triggers.scheduler import Scheduler
from flyteray._control.triggers.triggers import Artifacts, Triggers
from flyteray._plan import placement
from flyteray._plan.bundle.bundle import bundle_key
from flyteray._plan.info import ClusterInfo
from flyteray._plan.spec import EnvironmentSpec
from flyteray._settings import Settings
from flyteray.errors import RegistryUnavailableError
from flyteray.storage import Storage, open_storage
from flyteray.storage.local import rooms
from flyteray.storage.owner import Claim, Owner

_REAP_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class Controller(ControllerDoor):
    """The nouns that a client, worker or replica may ask of, and the loops that go on beside them.

    ``database`` is the SQLAlchemy URL of the registry; ``secrets_key_path`` is the file with the key of the secrets,
    unless ``FLYTERAY_SECRETS_KEY`` is set on the head. InitializationError where another cluster has that registry.

    A controller whose registry another one takes over ends itself. Ray brings it back where it is still its cluster's
    own, and what it is asked it answers with who has the registry, until that one is gone.
    """

    def __init__(
        self, cluster: ClusterInfo, database: str, secrets_key_path: str, options: IngressOptions
    ) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        self._cluster, self._options = cluster, options = follow_head(cluster, options)
        storage = open_storage(cluster.storage)
        if storage.is_local:
            rooms(Path(cluster.storage), "apps", "bundles", "cache", "files", "runs")
        settings = Settings.load()
        registry = Registry(database)
        wake = asyncio.Event()
        with contextlib.ExitStack() as undo:
            undo.callback(registry.close)
            secrets = Secrets(registry.database, Path(secrets_key_path), settings.secrets_key)
            holder = _this_cluster(settings)
            registry.take(holder, lost=_end)
            self._supervisor = Supervisor(registry, storage)
            self.storage = shared = SharedStorage(
                storage, Claim(storage, Owner(*holder, registry.identity(), registry.database.shown))
            )
            self.code = Bundles(storage, shared)
            self.tasks, self.keys, self.secrets = registry.tasks, registry.keys, secrets
            self.images = images = Images(secrets.read)
            self.outputs = outputs = Outputs(registry, storage)
            waiting = Waiting(registry, images.is_building, nodes.look)
            self.conditions = Conditions(registry, self._supervisor)
            self.leases = leases = Leases()
            self.runs = Runs(self._supervisor, registry, waiting, secrets, outputs, shared, leases)
            self.retention = retention = Retention(
                registry, storage, settings.retention_days, lambda runs: keeper().let_go(runs)
            )
            notifier = Notifier(registry, settings, lambda name: secrets.read([name])[name])
            scheduler = Scheduler(registry, self.runs)
            self.triggers = Triggers(registry, scheduler.changed)
            self.artifacts = Artifacts(registry.database, scheduler.changed)
            self._ingresses = ingresses = Ingresses(options, secrets.authority, wake.set)
            seen = SeenTraffic(ingresses)
            self.apps = apps = Apps(
                registry, cluster, images, secrets, outputs, ingresses, seen.figures, seen.compared, wake
            )
            self.traffic = traffic = Traffic(seen, apps.sizes, registry, options.access_log)
            undo.pop_all()
        endless = (
            apps.run(),
            ingresses.run(),
            images.follow_nodes(),
            shared.follow_nodes(),
            shared.hold_on(),
            node_types.Published().follow(),
            scheduler.run(),
            notifier.run(),
            retention.run(),
            traffic.run(),
            self._reap_forever(),
        )
        # Kept: the event loop holds tasks weakly.
        self._loops = [asyncio.ensure_future(loop) for loop in endless]

    async def info(self, address: str | None) -> ClusterInfo:
        if address is not None and address != self._options.head:
            await self._ingresses.coming(address)
        now = {"machines": self._ingresses.machines(), "tls": self._ingresses.tls(self._options.head)}
        cluster = self._cluster.model_copy(update=now)
        port = self._ingresses.port(address) if address else None
        if address is None or port is None:
            problem = self._ingresses.problem(address) if address else None
            return cluster.model_copy(update={"near_problem": problem})
        if address == self._options.head and not cluster.public and not cluster.tls_port:
            return cluster
        near = endpoint_pattern(self._options.reached_here(address), port)
        return cluster.model_copy(update={"near_pattern": near})

    async def gets_less(self, environment: EnvironmentSpec, replicas: int) -> str | None:
        return placement.less(environment, await asyncio.to_thread(nodes.look), replicas)

    async def _reap_forever(self) -> None:
        while True:
            try:
                await self._supervisor.reap()
            except RegistryUnavailableError as error:
                logger.warning("Lost runs are looked for again: %s", error)
            except Exception:
                logger.exception("Looking for lost runs failed; it is tried again")
            await asyncio.sleep(_REAP_EVERY_S)


def _this_cluster(settings: Settings) -> Holder:
    """This cluster; a local one is the same after a restart, another one has to wait until the earlier one's lapses."""
    cluster = local.find(settings)
    if cluster is not None and cluster.id == os.environ.get(processes.MARK):
        return Holder(*local.identity(settings))
    context = ray.get_runtime_context()
    name = f"the Ray cluster at {context.gcs_address} ({socket.gethostname()})"
    return Holder(context.get_session_name(), name)


def _end(why: str) -> None:
    """End this process, whatever its threads do: it must not go on to steer what is another one's."""
    logger.error("%s This process ends.", why)
    logging.shutdown()
    os._exit(1)


class Bundles(Code):
    """The bundles that clients upload and workers load."""

    def __init__(self, storage: Storage, shared: SharedStorage) -> None:
        self._storage = storage
        self._shared = shared

    async def has(self, digest: str) -> bool:
        await self._shared.prove()
        return await asyncio.to_thread(self._storage.exists, bundle_key(digest))

    async def put(self, digest: str, data: bytes) -> None:
        await asyncio.to_thread(self._storage.put, bundle_key(digest), data)

    async def get(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._storage.get, bundle_key(digest))
