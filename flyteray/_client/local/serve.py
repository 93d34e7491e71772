"""Local mode serves apps as processes beside this one, without Ray. None of them outlives it."""

from __future__ import annotations

import asyncio
import atexit
import base64
import functools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flyteray import _private
from flyteray._client.local.app import LocalApp, Patience
from flyteray._client.local.furnishing import local_values
from flyteray._client.local.objects import write_object
from flyteray._client.local.outputs import LocalOutputs
from flyteray._client.plan import AppPlan
from flyteray._declare.context import RAW_DATA_PATH
from flyteray._declare.near import did_you_mean
from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._machine import ports
from flyteray._machine.shared_folder import SharedFolder
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.images.image import build_env_vars
from flyteray._plan.spec import LocalPlan, ParameterSpec
from flyteray._settings import Settings
from flyteray.app.endpoints import LOCAL_APPS, local_endpoints
from flyteray.app.parameters import PARAMETERS_FILE
from flyteray.app.port import REPLICA_PORT
from flyteray.errors import DeploymentError, ImageBuildError, ParameterMaterializationError

_HOST = "127.0.0.1"
# Of the app that this process may itself be, and what user code has no use for.
_NOT_INHERITED = (REPLICA_PORT, PARAMETERS_FILE, "FLYTERAY_SECRETS_KEY", RAW_DATA_PATH)


class LocalApps:
    """The local apps of this process, and the folder below ``home`` that they share."""

    def __init__(self, home: Path) -> None:
        self._pid = os.getpid()
        self._folder = SharedFolder.new(home / "local-apps")
        self._outputs = LocalOutputs(self._folder.path, self._folder.path / LocalPlan.NEWEST)
        self._apps: dict[str, LocalApp] = {}
        local_endpoints().share(self._folder.path / "apps.json")
        atexit.register(self.end)

    async def serve(self, planned: Sequence[AppPlan], settings: Settings, patience: Patience) -> LocalApp:
        """Start apps, each after those it needs, and return the last one's handle when it takes requests.

        An app that runs unchanged is left alone; a changed one takes the place of the old one. When one can't start,
        those that were started for it are stopped.
        """
        started: list[LocalApp] = []
        try:
            for each in planned:
                app = await self._app(each, settings, patience)
                if app.is_deactivated():
                    started.append(app)
                await app.activate.aio(wait=True)
        except BaseException:
            for app in started:
                app.stop()
            raise
        return app

    def end(self) -> None:
        """Stop all apps and wait until nothing of them is left."""
        if os.getpid() != self._pid:  # a fork of the process whose they are
            return
        for app in self._apps.values():
            app.stop()
        for app in self._apps.values():
            app.join()
        atexit.unregister(self.end)
        self._folder.leave()

    async def _app(self, planned: AppPlan, settings: Settings, patience: Patience) -> LocalApp:
        known = self._apps.get(planned.spec.name)
        port = known.plan.port if known and planned.spec.port == 0 else planned.spec.port
        plan = await asyncio.to_thread(self._plan, planned, port, settings, patience)
        if known is not None and known.plan == plan and not known.has_failed:
            known.patience = patience
            return known
        python = await asyncio.to_thread(_python, plan, settings)
        image = plan.app.environment.image
        if image is not None and image.program:  # its own, and none of the process that looks after it
            plan, python = plan.model_copy(update={"python": str(python)}), Path(sys.executable)
        environment = await asyncio.to_thread(self._environment, plan, settings)
        if known is not None:  # only now: what could be refused has been asked for
            await known.deactivate.aio(wait=True)
        app = LocalApp(plan, python, environment, patience, known.revision + 1 if known else 1)
        self._apps[plan.app.name] = app
        return app

    def _plan(self, planned: AppPlan, port: int, settings: Settings, patience: Patience) -> LocalPlan:
        spec, root = planned.spec, self._folder.path
        archive = root / f"{planned.bundle.digest}.zip"
        if planned.bundle.contents and not archive.exists():
            _private.replace(archive, planned.bundle.data)
        pinned = [self._pin(parameter, settings) for parameter in spec.parameters]
        outputs = {
            parameter.output.run_name: storage
            for parameter, storage in pinned
            if storage is not None and parameter.output and parameter.output.run_name
        }
        update = {
            "parameters": tuple(parameter for parameter, _ in pinned),
            "startup_timeout_s": patience.activate_timeout,
        }
        return LocalPlan(
            app=spec.model_copy(update=update),
            bundle=str(archive),
            shared=str(root),
            folder=str(root / spec.name),
            host=_HOST,
            port=port or ports.free_port(_HOST),
            outputs=outputs,
            given={
                name: str(write_object(root, spec.name, name, value, spec.code.module))
                for name, value in planned.objects.items()
            },
            drain_s=patience.drain_s,
        )

    def _pin(self, parameter: ParameterSpec, settings: Settings) -> tuple[ParameterSpec, str | None]:
        """A parameter as a process without a cluster can resolve it, and the storage that its output is in."""
        output = parameter.output
        if output is not None and not output.follow:
            run, storage = self._outputs.locate(parameter.name, output, settings)
            pinned = output.model_copy(update={"run_name": run})
            return parameter.model_copy(update={"output": pinned}), storage
        if output is not None:
            self._outputs.follow(parameter.name, output, settings)
        elif parameter.kind == "app_endpoint" and parameter.value and "://" not in parameter.value:
            parameter = parameter.model_copy(update={"value": _url(parameter.name, parameter.value)})
        return parameter, None

    def _environment(self, plan: LocalPlan, settings: Settings) -> dict[str, str]:
        spec = plan.app
        values = local_values(spec.environment.secrets, settings)
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        ours = {
            "FLYTERAY_HOME": str(settings.home),
            "FLYTERAY_STORAGE": settings.storage,
            # Code that came to this process in a bundle is where that one was unpacked.
            "FLYTERAY_CACHE": plan.shared if Path(plan.bundle).exists() else str(cache_folder().parent),
            "FLYTERAY_CODE": spec.code.bundle,
            "PYTHONPATH": _absolute(inherited.get("PYTHONPATH", "")),
            "PYTHONUNBUFFERED": "1",
            RAW_DATA_PATH: str(settings.home / "local" / "raw_data"),
            "_RUN_MODE": "local",
            LOCAL_APPS: str(self._folder.path / "apps.json"),
            REPLICA_PORT: str(plan.port),
            LocalPlan.SECRETS: json.dumps(
                {name: base64.b64encode(value).decode() for name, value in values.items()}
            ),
        }
        if settings.database is not None:
            ours["FLYTERAY_DATABASE"] = settings.database
        return inherited | ours | spec.environment.env_vars


def _python(plan: LocalPlan, settings: Settings) -> Path:
    """The Python that an app runs in; its image is built as a local cluster of these settings would build it."""
    image = plan.app.environment.image
    if image is None:
        return Path(sys.executable)
    # Deferred: most apps need no image.
    from flyteray._cluster.images.venv import python_for

    values = local_values(image.secrets, settings)
    try:
        return python_for(image, settings.home / "images", build_env_vars(image, values))
    except ImageBuildError as error:
        raise DeploymentError(f"App {plan.app.name!r} could not start: ImageBuildError: {error}") from error


@functools.cache
def local_apps(home: Path) -> LocalApps:
    """The local apps of this process."""
    return LocalApps(home)


def _url(parameter: str, app: str) -> str:
    url = local_endpoints().find(app)
    if url is None and (pattern := os.environ.get(ENDPOINT_PATTERN)):
        url = pattern.replace("{app_fqdn}", app)
    if url is None:
        raise ParameterMaterializationError(
            f"Parameter {parameter!r}: app {app!r} is not served in local mode. Serve it first, or name its "
            f"environment in depends_on.{did_you_mean(app, local_endpoints().names())}"
        )
    return url


def _absolute(path: str) -> str:
    """A search path that is the same from another folder."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in path.split(os.pathsep) if entry)
