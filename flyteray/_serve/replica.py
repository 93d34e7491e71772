"""A replica: the user's app on a port of its own, inside an actor that Serve looks after."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import ray
from ray import serve

from flyteray._cluster import secrets
from flyteray._cluster.code import code_folder, load_code
from flyteray._plan.bundle import cache_folder
from flyteray._plan.failure import describe
from flyteray._plan.spec import AppSpec, ReplicaInfo
from flyteray._serve import loopback, ports, serve_logs
from flyteray._serve.asgi import AsgiServer
from flyteray._serve.command import CommandServer
from flyteray._serve.function import FunctionServer
from flyteray._serve.hosting import Hosting, Server
from flyteray._serve.parameters import Parameters, resolve
from flyteray._serve.reporter import Reporter, report_failure
from flyteray.app.environment import AppEnvironment

DRAIN_S = 30.0  # how long open requests and WebSockets may go on once a replica is asked to stop
_LINGER_S = 0.3  # the ingress has been told; what it had sent by then has arrived after this


class Replica:
    """The class that Serve makes an actor of; its constructor returns once the app takes requests.

    Args:
        spec_json: The app version, an :class:`AppSpec` as JSON.
        version: Its id.
    """

    async def __init__(self, spec_json: str, version: str) -> None:  # type: ignore[misc]  # Serve awaits it
        spec = AppSpec.model_validate_json(spec_json)
        self._folder = _folder()
        self._secrets = secrets.of_worker(spec.environment.secrets)
        self._hosting: Hosting | None = None
        self._reporter: Reporter | None = None
        try:
            await self._start(spec, version)
        except BaseException as error:
            self._clean_up()
            await asyncio.to_thread(report_failure, version, describe(error))
            raise

    def check_health(self) -> None:
        """Serve's question, every second; raising three times in a row has the replica replaced."""
        if self._hosting is not None:
            self._hosting.check()

    async def __del__(self) -> None:  # Serve awaits it before it ends the actor
        """Drain and stop. Runs on scale-down, redeploy and delete alike."""
        if self._reporter is not None:
            await asyncio.to_thread(self._reporter.stop)
            await asyncio.sleep(_LINGER_S)
        if self._hosting is not None:
            await self._hosting.stop(DRAIN_S)
        self._clean_up()

    def _clean_up(self) -> None:
        self._secrets.withdraw()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self, spec: AppSpec, version: str) -> None:
        serve_logs.protect()
        await asyncio.to_thread(self._secrets.deliver)  # first of all: the user's module may look for them
        node = ray.util.get_node_ip_address()
        loopback.confine(node)
        sock = ports.listening_socket(node)
        host, port = sock.getsockname()[:2]
        os.environ["FLYTERAY_REPLICA_PORT"] = str(port)  # before the user's module asks env.get_port()
        # In a thread, where user code may start event loops of its own, and Serve's loop stays responsive.
        app = await asyncio.to_thread(load_code, spec.code)
        parameters = await asyncio.to_thread(resolve, spec.parameters, self._folder)
        self._publish(parameters)
        os.chdir(code_folder(spec.code))
        server: Server
        if spec.kind == "asgi":
            # In a thread for the same reason: a kind may build its application here.
            server = AsgiServer(await asyncio.to_thread(app.asgi_app), sock, app.uvicorn_config)
        else:
            sock.close()  # held until here, so that no other replica was given the port
            server = _own_server(app, spec, parameters, host, port)
        hosting = Hosting(
            server,
            arguments=parameters.arguments,
            visible=parameters.visible,
            on_startup=app._on_startup,
            on_shutdown=app._on_shutdown,
            on_exit=lambda _error: self._leave(),
        )
        await hosting.start()
        context = serve.get_replica_context()
        reporter = Reporter(
            ReplicaInfo(
                replica_id=context.replica_id.unique_id,
                actor_name=context.replica_id.to_full_id_str(),
                version=version,
                host=host,
                port=server.port,
                pid=os.getpid(),
            )
        )
        self._hosting, self._reporter = hosting, reporter
        reporter.start()
        hosting.check()  # it may have ended already, before anybody was told of it

    def _leave(self) -> None:
        """End a process whose server has ended by itself: Serve replaces a dead actor sooner than an unhealthy one."""
        if self._reporter is not None:
            self._reporter.stop()
            self._clean_up()
            logging.shutdown()
            os._exit(1)

    def _publish(self, parameters: Parameters) -> None:
        os.environ.update(parameters.env_vars)
        file = self._folder / "flyte-parameters.json"
        file.write_text(json.dumps(parameters.texts))
        os.environ["flyte-parameters.json"] = str(file)  # noqa: SIM112  # the name is Flyte's


def _folder() -> Path:
    parent = cache_folder().parent  # what a killed replica leaves goes with the cluster's other files
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="flyteray-app-", dir=parent))


def _own_server(
    app: AppEnvironment, spec: AppSpec, parameters: Parameters, host: str, port: int
) -> FunctionServer | CommandServer:
    """A server that is the user's own, with the port of this replica."""
    if spec.kind == "command":
        return CommandServer(
            spec.command,
            spec.environment.env_vars,
            code_folder(spec.code),
            declared=spec.port,
            host=host,
            port=port,
            health_path=spec.health_path,
        )
    return FunctionServer(app._server, parameters.arguments, declared=spec.port, host=host, port=port)  # type: ignore[arg-type]
