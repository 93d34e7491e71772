"""The detached actors of a cluster, found by name, and calls to them without Ray's wrapping of errors."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from flyteray.errors import BaseRuntimeError, InitializationError, RuntimeSystemError

NAMESPACE = "flyteray"
CONTROLLER = "controller-v1"  # a newer flyteray takes over from an older one by another name


def keeper_name(shard: int = 0) -> str:
    """The keeper that owns the outputs of a shard of the runs."""
    return f"keeper-v1-{shard}"


def ingress_name(node_id: str) -> str:
    """The ingress of a node."""
    return f"ingress-v1-{node_id}"


def find(name: str) -> ActorHandle:
    """A handle of a flyteray actor on the connected cluster.

    Raises:
        InitializationError: there is no such actor, so nobody has connected with flyteray yet.
    """
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise InitializationError(
            f"This Ray cluster runs no flyteray actor {name!r}. Call flyteray.init() or run a flyteray command "
            "on it first."
        ) from error


def controller() -> ActorHandle:
    """The controller of the connected cluster."""
    return find(CONTROLLER)


def get(ref: Any) -> Any:
    """Block for the result of an actor call; flyteray errors arrive as they were raised."""
    try:
        return ray.get(ref)
    except (RayTaskError, RayActorError) as error:
        raise _plain(error) from None


async def aget(ref: Any) -> Any:
    """Await the result of an actor call; flyteray errors arrive as they were raised."""
    try:
        return await asyncio.wrap_future(ref.future())
    except (RayTaskError, RayActorError) as error:
        raise _plain(error) from None


def _plain(error: RayTaskError | RayActorError) -> BaseException:
    cause = getattr(error, "cause", None)
    if isinstance(cause, (BaseRuntimeError, ValueError, TypeError)):
        return cause
    return RuntimeSystemError(type(error).__name__, f"A call to flyteray's actors failed: {error}")
