"""A part of a composition is a deployment that its ingress deployment calls; its processes are furnished as replicas.

Serve's controller is told of a stand-in for the user's code: it must not need that, and the code is what a bundle has.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

from ray import serve

from flyteray._cluster.workers import secrets
from flyteray._cluster.workers.code import activate
from flyteray._plan.spec import AppSpec
from flyteray._serve.compositions import graph
from flyteray._serve.hosted_app import HostedApp
from flyteray._serve.reporter import report_failure, report_part
from flyteray._serve.surroundings import ClusterOutputs, enter, new_folder
from flyteray._traces.process import tracing


class Part:
    """Stands for the code of a part; it is bound to an :class:`AppSpec` as JSON, its version and the part's name."""


class MultiplexedPart(Part):
    """Stands for the code of a part that loads models by their ids: Serve's routers look which replica has one."""

    @serve.multiplexed  # type: ignore[untyped-decorator]  # Ray has no types for it
    async def load(self, model_id: str) -> None:
        """Tell that there are models; the user's code loads them."""


class PartProcess:
    """A process of a part, from its secrets to the user's code."""

    def __init__(self, spec_json: str, version: str, name: str) -> None:
        self._spec = AppSpec.model_validate_json(spec_json)
        self._version = version
        self._name = name
        self._folder = new_folder()
        of_worker = secrets.of_worker(self._spec.environment.secrets)
        self._app = HostedApp(self._spec, self._folder, of_worker, ClusterOutputs())

    async def load(self) -> dict[str, Any]:
        """Make all that its app has available, and find the code and its arguments, named as Serve names them."""
        try:
            options = next(each.options for each in self._spec.parts if each.name == self._name)
            await enter(self._app, self._spec.environment.env_vars | variables(options), self._version)
            app = await self._app.load(activate)
            self._app.follow()
            found = await asyncio.to_thread(graph.part, app.app, self._version, self._name)
        except BaseException as error:
            await self.failed(error)
            self.end()
            raise
        return {
            "deployment_def": found.func_or_class,
            "init_args": found.init_args,
            "init_kwargs": found.init_kwargs,
        }

    async def came_up(self) -> None:
        """Tell the controller that the deployment is up, so that an earlier failure is over."""
        await asyncio.to_thread(report_part, self._version)

    async def failed(self, error: BaseException) -> None:
        """Tell the controller why the deployment does not come up."""
        await asyncio.to_thread(report_failure, self._version, self._app.failure(error))

    def end(self) -> None:
        """Take away its files; what is left of its traces is sent."""
        tracing().say_last_words()
        self._app.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def variables(options: dict[str, Any]) -> dict[str, str]:
    """The environment variables that a deployment has beside those of its app, from its options."""
    environment = (options.get("ray_actor_options") or {}).get("runtime_env") or {}
    return dict(environment.get("env_vars") or {})
