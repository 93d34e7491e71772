"""A replica: the user's app on a port of its own, inside an actor that Serve looks after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve

from flyteray import _private
from flyteray._cluster.workers import launch, scripts, secrets
from flyteray._cluster.workers.code import activate, load_code
from flyteray._cluster.workers.workplace import furnish
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.failure import describe
from flyteray._plan.info import ReplicaInfo
from flyteray._plan.spec import AppSpec
from flyteray._serve.own_log import OwnLog
from flyteray._serve.parameters.follow import Follower
from flyteray._serve.parameters.outputs import locate_output, newer_outputs, read_output
from flyteray._serve.parameters.parameters import Parameters, Resolver
from flyteray._serve.programs import orphans
from flyteray._serve.programs.program_image import IMAGE, loaded, python_of
from flyteray._serve.ray_serve import loopback, serve_logs
from flyteray._serve.reporter import Reporter, report_failure
from flyteray._serve.servers import ports
from flyteray._serve.servers.hosting import Hosting
from flyteray._serve.servers.servers import loop_for, server_for
from flyteray._serve.start_up import CODE, SECRETS, SERVER, StartUp
from flyteray._serve.work import Lasting
from flyteray.errors import RuntimeSystemError

logger = logging.getLogger(__name__)

LONGEST_REQUEST_S = 3600.0  # where an app sets no limit
ON_SHUTDOWN_S = 30.0  # for the user's on_shutdown
_GIVE_UP_S = 5.0  # for what has started to end when the rest could not
_LINGER_S = 0.3  # the ingress has been told; what it had sent by then has arrived after this


class Replica:
    """The class that Serve makes an actor of; its constructor returns once the app takes requests.

    Args:
        spec_json: The app version, an :class:`AppSpec` as JSON.
        version: Its id.
    """

    async def __init__(self, spec_json: str, version: str) -> None:  # type: ignore[misc]  # Serve awaits it
        spec = AppSpec.model_validate_json(spec_json)
        self._start_up = StartUp(spec.startup_timeout_s)
        self._stopping = False
        self._drain_s = spec.drain_s
        self._log = OwnLog()
        self._folder = _folder()
        self._secrets = secrets.of_worker(spec.environment.secrets)
        self._hosting: Hosting | None = None
        self._reporter: Reporter | None = None
        self._parameters: Parameters | None = None
        self._follower: Follower | None = None
        self._starting = asyncio.ensure_future(self._start(spec, version))
        try:
            await self._starting
        except BaseException as error:
            if self._stopping:
                raise RuntimeSystemError(
                    "ReplicaStopped", "The replica was stopped while it started."
                ) from None
            failure = describe(error).model_copy(update={"log": self._log.tail()})
            await asyncio.to_thread(report_failure, version, failure)
            with contextlib.suppress(
                asyncio.TimeoutError
            ):  # a start-up may hang in code that nothing interrupts
                await asyncio.wait_for(self._stop(_GIVE_UP_S), 2 * _GIVE_UP_S)
            self._clean_up()
            await asyncio.to_thread(orphans.end_children)
            raise

    def check_health(self) -> None:
        """Serve's question, every second; raising three times in a row has the replica replaced."""
        if self._hosting is not None:
            self._hosting.check()

    async def __del__(self) -> None:  # Serve awaits it before it ends the actor
        """Drain and stop. Runs on scale-down, redeploy and delete alike, also while the constructor is awaited."""
        self._stopping = True
        self._starting.cancel()
        await asyncio.wait([self._starting])
        await self._stop(self._drain_s)

    async def _stop(self, deadline_s: float) -> None:
        if self._reporter is not None:
            at_most_s = await asyncio.to_thread(self._reporter.stop)
            deadline_s = min(deadline_s, at_most_s)
            await asyncio.sleep(_LINGER_S)
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        if self._hosting is not None:
            try:
                await asyncio.wait_for(self._hosting.stop(deadline_s), deadline_s + ON_SHUTDOWN_S)
            except asyncio.TimeoutError:  # its loop is blocked, or on_shutdown hangs
                logger.warning("The app did not end in time; its process ends without it.")
        self._clean_up()

    def _clean_up(self) -> None:
        self._secrets.withdraw()
        if self._parameters is not None:
            self._parameters.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self, spec: AppSpec, version: str) -> None:
        orphans.mark_children()
        serve_logs.protect()
        serve_logs.show_own()
        launch.settle(spec.environment.env_vars)
        step = self._start_up.step
        await step(SECRETS, self._secrets.deliver)  # first of all: the user's module may look for them
        node = ray.util.get_node_ip_address()
        loopback.confine(node)
        sock, self._claim = ports.claimed_socket(node)
        host, port = sock.getsockname()[:2]
        os.environ["FLYTERAY_REPLICA_PORT"] = str(port)  # before the user's module asks env.get_port()
        python = await step(IMAGE, lambda: python_of(spec.environment.image))
        app = await step(CODE, lambda: self._load(spec, python))
        resolver = Resolver(self._folder, spec.name, read_output, locate_output)
        self._parameters = parameters = await step(resolver.waits_for, lambda: resolver.all(spec.parameters))
        parameters.publish(self._folder)
        server = await step(
            SERVER, lambda: server_for(spec, app, parameters, sock, behind_ingress=True, python=python)
        )
        self._hosting = hosting = Hosting(
            server,
            arguments=parameters.arguments,
            on_startup=getattr(app, "_on_startup", None),
            on_shutdown=getattr(app, "_on_shutdown", None),
            on_exit=lambda _error: self._leave(),
            on_blocked=self._tell_blocked,
            loop=loop_for(spec, app),
            lag_limit_s=spec.request_timeout_s or LONGEST_REQUEST_S,
            start_up=self._start_up,
        )
        await hosting.start()
        context = serve.get_replica_context()
        self._reporter = Reporter(
            ReplicaInfo(
                replica_id=context.replica_id.unique_id,
                actor_name=context.replica_id.to_full_id_str(),
                version=version,
                host=host,
                port=server.port,
                pid=os.getpid(),
                outputs=parameters.runs,
            ),
            working=Lasting(hosting.going_on, spec.drain_s).look,
        )
        self._reporter.start()
        on_update = getattr(app, "_on_update", None)
        self._follower = Follower(
            spec.parameters,
            parameters,
            resolver,
            self._folder,
            newer=newer_outputs,
            update=lambda arguments: hosting.update(on_update, arguments) if on_update else None,
            tell=self._reporter.change,
        )
        self._follower.start()
        threading.Thread(target=orphans.end_orphans, name="flyteray-orphans", daemon=True).start()
        hosting.check()  # it may have ended already, before anybody was told of it

    def _load(self, spec: AppSpec, python: Path | None) -> Any:
        code = activate(spec.code.bundle)
        if code is not None:
            furnish(self._folder, code)
        os.chdir(self._folder)
        scripts.prepare(spec.code.module, code)
        return loaded(spec, python, lambda: load_code(spec.code))

    def _leave(self) -> None:
        """End a process whose server has ended by itself: Serve replaces a dead actor sooner than an unhealthy one."""
        if self._reporter is not None:
            self._reporter.stop()
            self._clean_up()
            orphans.end_children()
            logging.shutdown()
            os._exit(1)

    def _tell_blocked(self, blocked: bool) -> None:
        if self._reporter is not None:
            self._reporter.change(blocked=blocked)


def _folder() -> Path:
    parent = cache_folder().parent  # what a killed replica leaves goes with the cluster's other files
    _private.folder(parent)
    return Path(tempfile.mkdtemp(prefix="flyteray-app-", dir=parent))
