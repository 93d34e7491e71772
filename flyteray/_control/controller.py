"""The controller: the one detached actor that everybody talks to. It owns the registry; it is on no request's path."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from flyteray import _private
from flyteray._cluster import actors, nodes
from flyteray._cluster.images import Images
from flyteray._cluster.launch import Start
from flyteray._control.apps import Apps
from flyteray._control.keys import Keys
from flyteray._control.outputs import Outputs
from flyteray._control.registry import Registry
from flyteray._control.runs import Runs
from flyteray._control.secrets import Secrets
from flyteray._control.waiting import Waiting
from flyteray._plan import placement
from flyteray._plan.info import (
    BEFORE_IT_BEGINS,
    ActionEvent,
    ActionInfo,
    ActionPhase,
    AppInfo,
    ClusterInfo,
    ErrorInfo,
    ReplicaInfo,
    RunEnd,
    RunInfo,
    SecretInfo,
    TaskInfo,
)
from flyteray._plan.pickling import Payload
from flyteray._plan.spec import AppSpec, EnvironmentSpec, ImageSpec, KeyInfo, OutputRef, RunSpec, TaskPlan
from flyteray._settings import Settings
from flyteray.storage import Storage

_REAP_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class Controller:
    """A facade over runs and apps: each method is one thing that a client, worker or replica may ask for.

    Args:
        cluster: Where things are; known before the controller starts.
        database: SQLAlchemy URL of the registry.
        secrets_key_path: The file with the key of the secrets, unless ``FLYTERAY_SECRETS_KEY`` is set on the head.
    """

    def __init__(self, cluster: ClusterInfo, database: str, secrets_key_path: str) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        self._cluster = cluster
        self._storage = Storage.at(cluster.storage)
        if self._storage.is_local:
            _private.rooms(Path(cluster.storage), "apps", "bundles", "files", "runs")
        self._registry = Registry(database)
        self._secrets = Secrets(database, Path(secrets_key_path), Settings.load().secrets_key)
        self._runs = Runs(self._registry, self._storage)
        self._outputs = Outputs(self._registry, self._storage)
        self._images = Images(self._secrets.get_values)
        self._waiting = Waiting(self._registry, self._images.is_building, nodes.look)
        self._keys = Keys(database)
        self._apps = Apps(self._registry, cluster, self._images, self._keys)
        # Kept: the event loop holds tasks weakly.
        endless = (
            self._apps.run(),
            self._apps.wake_sleepers(),
            self._images.follow_nodes(),
            self._reap_forever(),
        )
        self._loops = [asyncio.ensure_future(loop) for loop in endless]

    async def info(self) -> ClusterInfo:
        """Where things are."""
        return self._cluster

    # Code: beside the loop, for the storage may be far away

    async def has_bundle(self, digest: str) -> bool:
        """Whether a bundle of code is there."""
        return await asyncio.to_thread(self._storage.exists, _bundle_key(digest))

    async def put_bundle(self, digest: str, data: bytes) -> None:
        """Keep a bundle of code; equal code is kept once."""
        await asyncio.to_thread(self._storage.put, _bundle_key(digest), data)

    async def get_bundle(self, digest: str) -> bytes:
        """A bundle of code."""
        return await asyncio.to_thread(self._storage.get, _bundle_key(digest))

    # Images

    async def prepare_image(self, image: ImageSpec, force: bool = False) -> Start:
        """Build an image on every node unless it is there; what a worker needs to be started with it.

        Raises:
            ImageBuildError: it can't be built.
        """
        return await self._images.prepare(image, force)

    async def start_image(self, image: ImageSpec, force: bool) -> None:
        """Have an image built; returns before it is."""
        self._images.begin(image, force)

    async def gets_less(self, environment: EnvironmentSpec, replicas: int) -> str | None:
        """What an environment asks for and does not get all of here, in words."""
        return placement.less(environment, await asyncio.to_thread(nodes.look), replicas)

    # Deployed tasks

    async def deploy_tasks(self, plans: list[TaskPlan]) -> None:
        """Record versions of tasks; their code is here already.

        Raises:
            ValueError: a version of that name is something else.
        """
        self._registry.deploy_tasks(plans, datetime.now(timezone.utc))

    async def get_task(self, name: str, version: str | None) -> TaskInfo:
        """A version of a deployed task, or its newest."""
        return self._registry.get_task(name, version)

    async def list_tasks(self, name: str | None, environment: str | None, limit: int) -> list[TaskInfo]:
        """The versions of a task, or the newest of every task."""
        return self._registry.list_tasks(name, environment, limit)

    # Runs

    async def start_run(self, spec: RunSpec, inputs: Payload) -> RunInfo:
        """Start a run; it goes on whatever becomes of the caller.

        Raises:
            SecretNotFoundError: its task asks for a secret that does not exist.
        """
        self._secrets.require(secret.name for secret in spec.task.environment.secrets)
        await self._runs.start(spec, inputs)
        return self._runs.get(spec.name)

    async def get_run(self, name: str) -> RunInfo:
        """A run as it is now."""
        return await self._waiting.run(self._runs.get(name))

    async def wait_run(self, name: str, timeout_s: float) -> RunInfo:
        """A run when it has ended, or as it is after ``timeout_s`` seconds."""
        return await self._waiting.run(await self._runs.wait(name, timeout_s))

    async def list_runs(self, task: str | None, phase: ActionPhase | None, limit: int) -> list[RunInfo]:
        """Runs, newest first; those in phase ``queued`` are all that have not begun."""
        recorded = ActionPhase.QUEUED if phase in BEFORE_IT_BEGINS else phase
        found = await self._waiting.runs(self._registry.list_runs(task=task, phase=recorded, limit=limit))
        return [run for run in found if phase in (None, recorded, run.phase)]

    async def list_actions(self, run: str) -> list[ActionInfo]:
        """The actions of a run."""
        return await self._waiting.actions(run, self._registry.list_actions(run))

    async def abort_run(self, name: str, reason: str) -> None:
        """End a run and all of its actions."""
        await self._runs.abort(name, reason)
        self._waiting.ended(name)

    async def record(self, events: bytes) -> None:
        """Take in a batch of what a worker saw: a pickled list of :class:`ActionEvent`."""
        batch: list[ActionEvent] = pickle.loads(events)
        self._runs.record(batch)
        self._waiting.record(batch)

    async def run_finished(self, ended: RunEnd) -> None:
        """Take in how a run ended."""
        self._runs.finished(ended)
        self._waiting.ended(ended.run)
        if ended.phase is ActionPhase.SUCCEEDED:
            self._outputs.succeeded(ended.run)

    # Outputs of runs that apps take

    async def locate_output(self, ref: OutputRef) -> str:
        """The run that an output is of: the one it names, or the newest of its task."""
        return self._outputs.locate(ref)

    async def newer_outputs(self, refs: list[OutputRef], seen: list[str], timeout_s: float) -> list[str]:
        """The newest run for each as soon as one differs from that ``seen``, or after ``timeout_s`` seconds."""
        return await self._outputs.newer(refs, seen, timeout_s)

    # Apps

    async def serve(self, spec: AppSpec, declared: Sequence[str] = ()) -> AppInfo:
        """Make a version the wanted one; its outputs of tasks are pinned to runs first.

        Args:
            spec: The version.
            declared: Tasks that who serves it knows: one of them may be meant by a name that is none.

        Raises:
            ParameterMaterializationError: an output that a parameter names does not exist.
            SecretNotFoundError: it asks for a secret that does not exist.
        """
        self._secrets.require(secret.name for secret in spec.environment.secrets)
        return await self._apps.serve(await self._outputs.pin(spec, declared))

    async def wait_app(self, name: str, timeout_s: float) -> AppInfo:
        """An app when its newest version serves or has failed, or as it is after ``timeout_s`` seconds."""
        return await self._apps.wait(name, timeout_s)

    async def get_app(self, name: str) -> AppInfo:
        """An app as it is now."""
        return self._apps.get(name)

    async def list_apps(self) -> list[AppInfo]:
        """All apps, by name."""
        return self._apps.all()

    async def list_replicas(self, name: str) -> list[ReplicaInfo]:
        """The replicas of an app that are ready."""
        return self._apps.replicas(name)

    async def set_desired(self, name: str, desired: Literal["active", "stopped"]) -> AppInfo:
        """Start or stop an app."""
        return await self._apps.set_desired(name, desired)

    async def wait_stopped(self, name: str, asked: bool = False) -> AppInfo:
        """A stopped app when its replicas have ended; ``asked`` says that the caller has stopped it."""
        return await self._apps.wait_stopped(name, asked)

    async def delete_app(self, name: str) -> None:
        """End an app and forget it."""
        await self._apps.delete(name)

    async def replica_ready(self, info: ReplicaInfo) -> None:
        """A replica listens."""
        await self._apps.replica_ready(info)
        await self._let_go()

    async def replica_failed(self, version: str, error: ErrorInfo) -> None:
        """A replica could not start."""
        await self._apps.replica_failed(version, error)

    async def replica_stopping(self, replica_id: str, version: str) -> float:
        """A replica takes no more requests; for how many seconds it may go on at most."""
        return await self._apps.replica_stopping(replica_id, version)

    # Secrets

    async def create_secret(self, name: str, value: bytes) -> SecretInfo:
        """Keep a secret, or give it a new value."""
        return self._secrets.create(name, value)

    async def uncreated_secrets(self, names: list[str]) -> list[str]:
        """Those of the names that nobody has created a secret of."""
        return self._secrets.uncreated(names)

    async def take_secrets(self, values: dict[str, bytes]) -> list[str]:
        """Keep values of the caller's environment; tells those that are new or others than before."""
        return self._secrets.take(values)

    async def get_secret(self, name: str) -> SecretInfo:
        """A secret without its value."""
        return self._secrets.get(name)

    async def list_secrets(self, limit: int | None) -> list[SecretInfo]:
        """Secrets by name, without their values."""
        return self._secrets.listall(limit)

    async def delete_secret(self, name: str) -> None:
        """Forget a secret."""
        self._secrets.delete(name)

    async def secret_values(self, names: list[str]) -> dict[str, bytes]:
        """The values that a process of an environment that asks for them is given."""
        return self._secrets.get_values(names)

    # Keys

    async def create_key(self, name: str, digest: str) -> KeyInfo:
        """Let in who has the key of that digest, from the moment that this returns.

        Raises:
            ValueError: a bad name, or one that is taken.
        """
        created = self._keys.create(name, digest)
        await self._apps.keys_changed()
        return created

    async def list_keys(self, limit: int) -> list[KeyInfo]:
        """Keys by name."""
        return self._keys.listall(limit)

    async def delete_key(self, name: str) -> None:
        """Answer no more requests with that key, from the moment that this returns.

        Raises:
            KeyNotFoundError: there is none of that name.
        """
        self._keys.delete(name)
        await self._apps.keys_changed()

    async def _let_go(self) -> None:
        """Have the keeper forget the outputs of followed tasks that no replica serves any more."""
        if runs := self._outputs.left_behind(self._apps.specs(), self._apps.ready_replicas()):
            await actors.acall(actors.keeper_name(), "let_go", runs)

    async def _reap_forever(self) -> None:
        while True:
            try:
                await self._runs.reap()
            except Exception:
                logger.exception("Looking for lost runs failed; it is tried again")
            await asyncio.sleep(_REAP_EVERY_S)


def _bundle_key(digest: str) -> str:
    return f"bundles/{digest}.zip"
