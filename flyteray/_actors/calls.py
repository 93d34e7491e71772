"""Calls to the detached actors of a cluster, which are found by name, without Ray's wrapping of errors."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import operator
import os
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from flyteray.errors import (
    BaseRuntimeError,
    InitializationError,
    RegistryTakenError,
    RegistryUnavailableError,
    RuntimeSystemError,
)

NAMESPACE = "flyteray"
SERVE_NAMESPACE = "flyteray-serve"  # of the actors of flyteray's own Serve, the replicas of apps among them

_RESTART_S = 120.0  # how long an actor may take to come back after its process died, or its database
_AGAIN_S = 0.2
_MAKE_AGAIN_S = 2.0

logger = logging.getLogger(__name__)


class ActorHost:
    """The class of all detached actors: it makes an object of the class ``module:name``, and hands on calls to it.

    Ray imports the class of an actor wherever it is called from; with this one the callers, which every worker and
    every command is, do without the modules of the controller.

    An object that can't be made when Ray brings the actor back, because its database is away, is tried again until it
    can; meanwhile questions are answered with the reason. Ray would not bring the actor back again.
    """

    def __init__(self, kind: str, *arguments: Any) -> None:
        os.umask(0o077)  # what it and its children write, the registry and HAProxy's files, is nobody else's
        module, _, name = kind.partition(":")
        make = functools.partial(getattr(importlib.import_module(module), name), *arguments)
        self._object: Any = None
        try:
            self._object = make()
        except BaseRuntimeError as error:
            if not ray.get_runtime_context().was_current_actor_reconstructed:
                raise
            self._why = error
            self._making = asyncio.ensure_future(self._make_later(make))

    async def _make_later(self, make: Callable[[], Any]) -> None:
        while self._object is None:
            logger.warning("%s It is tried again.", self._why)
            await asyncio.sleep(_MAKE_AGAIN_S)
            try:
                self._object = make()
            except BaseRuntimeError as error:
                self._why = error

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object, or with dots of a part of it."""
        if self._object is None:
            raise self._why.with_traceback(None)
        return await operator.attrgetter(method)(self._object)(*arguments)


def find(name: str) -> ActorHandle:
    """A flyteray actor of the connected cluster; InitializationError where nobody has connected with flyteray yet."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise InitializationError(
            "InitializationError",
            "user",
            f"This Ray cluster runs no flyteray actor {name!r}. Call flyteray.init() or run a flyteray command "
            "on it first.",
        ) from error


def send(name: str, method: str, *arguments: Any) -> ray.ObjectRef:
    """Call a method of an actor without waiting for it; errors as in :func:`find`."""
    return find(name).ask.remote(method, *arguments)


def call(name: str, method: str, *arguments: Any) -> Any:
    """Call a method of an actor and block for its result.

    Flyteray errors arrive as they were raised. An actor that restarts is asked again until it is back, and so is one
    whose database is away, so methods must bear being called twice.
    """
    deadline = time.monotonic() + _RESTART_S
    while True:
        try:
            return ray.get(send(name, method, *arguments))
        except (RayTaskError, RayActorError) as error:
            _raise_unless_back_soon(error, deadline)
        time.sleep(_AGAIN_S)


async def acall(name: str, method: str, *arguments: Any) -> Any:
    """Like :func:`call`, awaiting the result."""
    deadline = time.monotonic() + _RESTART_S
    while True:
        # Not on the caller's loop, which may be an app's: finding asks the cluster, and arguments may be large.
        ref = await asyncio.to_thread(send, name, method, *arguments)
        try:
            return await asyncio.wrap_future(ref.future())
        except (RayTaskError, RayActorError) as error:
            _raise_unless_back_soon(error, deadline)
        await asyncio.sleep(_AGAIN_S)


def _raise_unless_back_soon(error: RayTaskError | RayActorError, deadline: float) -> None:
    told = error if isinstance(error, RayTaskError) else error.args[0] if error.args else None
    cause = getattr(told, "cause", None)
    # A controller that has lost the registry ends, and the one that has it is found by the same name.
    passes = isinstance(cause, (RegistryUnavailableError, RegistryTakenError))
    if (passes or isinstance(error, ActorUnavailableError)) and time.monotonic() < deadline:
        return
    if isinstance(cause, (BaseRuntimeError, ValueError, TypeError)):
        raise cause from None
    raise RuntimeSystemError(type(error).__name__, f"A call to flyteray's actors failed: {error}") from None
