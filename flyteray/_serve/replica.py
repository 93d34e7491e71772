"""A replica runs the user's app on a port of its own, inside an actor that Serve looks after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import threading

import ray
from ray import serve

from flyteray._cluster import nodes
from flyteray._cluster.workers import secrets
from flyteray._cluster.workers.code import activate
from flyteray._plan.info import ReplicaInfo
from flyteray._plan.spec import AppSpec
from flyteray._serve.adviser import Adviser
from flyteray._serve.background_work import LongWork
from flyteray._serve.hosted_app import LOOPBACK, HostedApp
from flyteray._serve.programs import orphans
from flyteray._serve.ray_serve import replica_process
from flyteray._serve.ray_serve.rollout import Rollout
from flyteray._serve.reporter import Reporter, report_failure
from flyteray._serve.servers import ports
from flyteray._serve.spares import hook, start
from flyteray._serve.startup import CODE
from flyteray._serve.surroundings import PORT, ClusterOutputs, enter, join, new_folder, python_of
from flyteray._traces.process import tracing
from flyteray.errors import RuntimeSystemError

logger = logging.getLogger(__name__)

LONGEST_REQUEST_S = 3600.0  # where an app sets no limit
ON_SHUTDOWN_S = 30.0  # for the user's on_shutdown
_GIVE_UP_S = 5.0  # for what has started to end when the rest could not
_LINGER_S = 0.3  # the ingress has been told; what it had sent by then has arrived after this


class Replica:
    """An actor of Serve; its constructor returns once the app takes requests.

    ``spec_json`` is the app version, an :class:`AppSpec` as JSON; ``version`` is its id.
    """

    async def __init__(self, spec_json: str, version: str) -> None:  # type: ignore[misc]  # Serve awaits it
        spec = AppSpec.model_validate_json(spec_json)
        self._stopping = False
        self._drain_s = spec.drain_s
        self._spare = hook.of_process()
        self._folder = self._spare.take() if self._spare else new_folder()
        of_worker = secrets.of_worker(spec.environment.secrets)
        self._app = HostedApp(spec, self._folder, of_worker, ClusterOutputs())
        self._reporter: Reporter | None = None
        self._adviser: Adviser | None = None
        self._starting = asyncio.ensure_future(self._start(spec, version))
        try:
            await self._starting
        except BaseException as error:
            if self._stopping:
                stopped = "The replica was stopped while it started."
                raise RuntimeSystemError("ReplicaStopped", stopped) from None
            await asyncio.to_thread(report_failure, version, self._app.failure(error))
            # A start-up may hang in code that nothing interrupts.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop(_GIVE_UP_S), 2 * _GIVE_UP_S)
            self._clean_up()
            await asyncio.to_thread(orphans.end_children)
            raise

    def check_health(self) -> None:
        """Answer Serve's question, every second; raising three times in a row has the replica replaced."""
        if self._app.hosting is not None:
            self._app.hosting.check()

    async def __del__(self) -> None:  # Serve awaits it before it ends the actor
        """Drain and stop. Runs on scale-down, redeploy and delete alike, also while the constructor is awaited."""
        self._stopping = True
        self._starting.cancel()
        await asyncio.wait([self._starting])
        await self._stop(self._drain_s)

    async def _stop(self, deadline_s: float) -> None:
        if self._adviser is not None:
            self._adviser.stop()
        if self._reporter is not None:
            at_most_s = await asyncio.to_thread(self._reporter.stop)
            deadline_s = min(deadline_s, at_most_s)
            await asyncio.sleep(_LINGER_S)
        try:
            await self._app.stop(deadline_s, deadline_s + ON_SHUTDOWN_S)
        except asyncio.TimeoutError:
            logger.warning("The app did not end in time; its process ends without it.")
        await asyncio.to_thread(tracing().say_last_words)
        self._clean_up()

    def _clean_up(self) -> None:
        self._app.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self, spec: AppSpec, version: str) -> None:
        sock = await self._enter(spec, version)
        if spec.kind == "serve":
            replica_process.use_own_serve()
        hosting = await self._app.start(
            sock,
            activate,
            lambda: python_of(spec),
            behind_ingress=True,
            on_exit=lambda _error: self._leave(),
            on_blocked=lambda blocked: self._tell(blocked=blocked),
            on_unwell=lambda unwell: self._tell(unwell=unwell),
            lag_limit_s=spec.request_timeout_s or LONGEST_REQUEST_S,
        )
        if spec.parts:
            parts = Rollout(version, {each.name for each in spec.parts})
            await self._app.wait(parts.missing, parts.wait)
        context = serve.get_replica_context()
        self._reporter = Reporter(
            ReplicaInfo(
                replica_id=context.replica_id.unique_id,
                actor_name=context.replica_id.to_full_id_str(),
                version=version,
                host=nodes.own_address(),
                port=self._app.port,
                pid=os.getpid(),
                outputs=self._app.runs,
            ),
            working=LongWork(hosting.going_on, spec.drain_s).look,
        )
        self._reporter.start()
        if self._app.policy is not None:
            self._adviser = Adviser(self._app.policy, context.replica_id.unique_id, version)
            self._adviser.start()
        self._app.follow(tell=self._reporter.change)
        threading.Thread(target=orphans.end_orphans, name="flyteray-orphans", daemon=True).start()
        here = (hook.kind(), spec, ray.get_runtime_context().get_runtime_env_string())
        threading.Thread(target=start.keep_up, args=here, name="flyteray-spares", daemon=True).start()
        hosting.check()  # the server may have ended already, before the reporter was there to be told

    async def _enter(self, spec: AppSpec, version: str) -> socket.socket:
        """Make this process ready for the app's code, if it was not before; the socket that its server is to have."""
        spare = self._spare
        if spare is not None and await self._app.wait(CODE, spare.has_loaded):
            await join(self._app, version)
        else:
            await enter(self._app, spec.environment.env_vars, version)
        sock, self._claim = (spare.socket, spare.claim) if spare else ports.claimed_socket(LOOPBACK)
        os.environ[PORT] = str(sock.getsockname()[1])
        return sock

    def _leave(self) -> None:
        """End a process whose server has ended by itself: Serve replaces a dead actor sooner than an unhealthy one."""
        if self._reporter is not None:
            self._reporter.stop()
            self._clean_up()
            orphans.end_children()
            tracing().say_last_words()
            logging.shutdown()
            os._exit(1)

    def _tell(self, **changes: bool) -> None:
        if self._reporter is not None:
            self._reporter.change(**changes)
