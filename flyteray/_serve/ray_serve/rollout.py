"""The rollout of a composition: its ingress deployment takes requests when those that it calls are up."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import ray
from ray.serve.schema import DeploymentStatus, ServeInstanceDetails

from flyteray._serve.ray_serve import own_serve

_LOOK_S = 0.2
_UP = (DeploymentStatus.HEALTHY, DeploymentStatus.UPSCALING, DeploymentStatus.DOWNSCALING)


class Rollout:
    """The deployments called ``names`` of the Serve application ``application``, which start beside this one."""

    def __init__(self, application: str, names: Collection[str]) -> None:
        self._application = application
        self._names = names
        self._missing: dict[str, str] = dict.fromkeys(names, "")

    def missing(self) -> str:
        """What is not up yet, with Serve's word on it, as a sentence without its full stop."""
        name, message = next(iter(self._missing.items()), ("", ""))
        told = f", of which Ray Serve says: {message.strip().removesuffix('.')}" if message else ""
        return f"its deployment {name!r} is not up{told}"

    def wait(self) -> None:
        """Block until all of them are up."""
        while self._missing:
            self._look()
            time.sleep(_LOOK_S if self._missing else 0)

    def _look(self) -> None:
        details: dict[str, Any] = ray.get(own_serve.find().get_serve_instance_details.remote())
        known = ServeInstanceDetails(**details).applications.get(self._application)
        deployments = known.deployments if known is not None else {}
        self._missing = {
            name: each.message if (each := deployments.get(name)) is not None else ""
            for name in self._names
            if name not in deployments or deployments[name].status not in _UP
        }
