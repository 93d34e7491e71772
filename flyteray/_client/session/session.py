"""The session of a process: the settings of ``init`` and, from the first verb that needs one, a cluster."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyteray._actors.controller import Controller, controller
from flyteray._client.bridge import warn_caller
from flyteray._declare.this_cluster import ENDPOINT_PATTERN, Cluster, this_process
from flyteray._plan.apps import output_ref
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.bundle.shipping import SHIPPING, Shipping
from flyteray._plan.info import AskedVersion, ClusterInfo
from flyteray._plan.spec import AppSpec, EnvironmentSpec
from flyteray._plan.tasks import declared_tasks
from flyteray._plan.traffic.canary import CanarySpec
from flyteray._plan.traffic.shadow import ShadowSpec
from flyteray._settings import Settings
from flyteray._traces.process import tracing
from flyteray.app.sources import RunOutput
from flyteray.errors import ClusterError, InitializationError

if TYPE_CHECKING:
    from flyteray._cluster.connection import Connection


class Session(Cluster):
    """The connection of a process, made when it is first needed and then kept."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._cluster: ClusterInfo | None = None
        self._connection: Connection | None = None
        self._drives_local = False
        self._lock = threading.Lock()

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next connection on."""
        with self._lock:
            if self._cluster is not None:  # endpoints were those of apps there
                os.environ.pop(ENDPOINT_PATTERN, None)
            self._settings = settings
            self._cluster = None

    def check_address(self, address: str) -> None:
        """Raise ClusterError for another cluster than the one that this process has connected to.

        What Ray or the user has connected is left alone: workers import modules that say where their driver is to run.
        """
        connection = self._connection
        if connection is not None and _is_connected() and not connection.is_of(address):
            raise ClusterError(
                f"This process is connected to the Ray cluster at {connection.address}, and flyteray.init asks for "
                f"{address!r}: a process talks to one cluster. Start another process for the other."
            )

    @property
    def settings(self) -> Settings:
        """The settings that ``init`` was told, else those of the environment."""
        return self._settings or Settings.load()

    @property
    def is_connected(self) -> bool:
        """Whether this process knows its cluster already."""
        return self._cluster is not None

    def connect(self) -> ClusterInfo:
        """The cluster, a local one in the background where none is named; ClusterError where none can be reached."""
        # Deferred, as everything here that needs Ray: `import flyteray` and local mode do without it.
        from flyteray._cluster.connection import connect, disconnect
        from flyteray._control.actors import ensure_controller, refuse_impossible

        with self._lock:
            if self._cluster is None:
                connection = connect(self.settings, before_start=refuse_impossible)
                if connection.own:
                    self._connection = connection
                self._drives_local = connection.local is not None and connection.driver
                try:
                    self._cluster = ensure_controller(self.settings, connection.local)
                except InitializationError:
                    if connection.started:  # nothing half made: the next start begins anew
                        disconnect(self.settings)
                    raise
                os.environ[ENDPOINT_PATTERN] = self._cluster.pattern_for_code
                if self._cluster.traces:
                    tracing().begin_beside(self._cluster.traces)
                if other := other_storage(self.settings, self._cluster.storage):
                    warn_caller(other)
            return self._cluster

    def has_cluster(self) -> bool:
        """Whether there is a cluster to talk to; where there is none, :meth:`connect` starts one."""
        if self._cluster is not None or self.settings.address is not None:
            return True
        from flyteray._cluster import local  # deferred: most of what users do asks for a cluster anyway

        return local.find(self.settings) is not None or _is_connected()

    def drives_local_cluster(self) -> bool:
        """Whether this is a program that uses the local cluster of this machine; connects first."""
        self.connect()
        return self._drives_local

    @property
    def controller(self) -> Controller:
        """The controller, for questions; each connects first."""
        return controller(before=self.connect)

    async def serve(
        self,
        spec: AppSpec,
        share: int = 100,
        canary: CanarySpec | None = None,
        shadow: ShadowSpec | None = None,
    ) -> AskedVersion:
        """Make an app version the wanted one, or one beside that, with a share of the requests or with copies."""
        await self.warn_of_shortage(f"App {spec.name!r}", spec.environment, spec.replicas)
        return await self.controller.apps.serve(spec, declared_tasks(), share, canary, shadow)

    async def warn_of_shortage(self, what: str, environment: EnvironmentSpec, replicas: int = 1) -> None:
        """Warn where the machine of the local cluster has less than is asked for."""
        if environment.num_cpus * replicas <= 1 and environment.memory is None:
            return  # every machine has that
        if told := await self.controller.gets_less(environment, replicas):
            warn_caller(f"{what} {told}.")

    def storage(self) -> str:
        return self.connect().storage if self.has_cluster() else self.settings.storage

    def endpoint_pattern(self) -> str | None:
        named = self._settings is not None
        return self.connect().pattern_for_code if named and self.has_cluster() else None

    async def read_output(self, output: RunOutput) -> Any:
        if self._settings is None:
            return await super().read_output(output)
        ref = output_ref("materialize", output)
        run = await self.controller.outputs.locate(ref)
        from flyteray._tasks import outputs  # deferred: it needs Ray

        return await asyncio.to_thread(outputs.load, run, ref.getter)

    def shipping(self, asked: Shipping = SHIPPING) -> Shipping:
        """How to ship code: what is asked for, from the root that ``init`` was told where none is."""
        return asked if asked.root_dir else replace(asked, root_dir=self.settings.root_dir)

    async def upload(self, bundle: Bundle) -> None:
        """Make code available to the cluster's workers; what is there already is not sent again."""
        if bundle.contents and not await self.controller.code.has(bundle.digest):
            data = await asyncio.to_thread(lambda: bundle.data)
            await self.controller.code.put(bundle.digest, data)


def other_storage(settings: Settings, storage: str) -> str | None:
    """What to say where somebody has named another storage than the cluster has."""
    if settings.storage in (storage, str(settings.home / "storage")):
        return None
    return (
        f"Storage {settings.storage!r} is not used: this cluster has {storage!r}, since flyteray first ran on it. To "
        "change that, start the cluster anew."
    )


def _is_connected() -> bool:
    if "ray" not in sys.modules:
        return False
    from flyteray._cluster.connection import is_connected  # deferred: it needs Ray

    return is_connected()


@functools.cache
def session() -> Session:
    """This process's session."""
    made = this_process().cluster = Session()
    return made
