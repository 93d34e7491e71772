"""The entry of a composition: its ingress deployment's code, called in this process for each request.

Serve's proxy would send a request on to a replica through Ray. Here the server that the ingress reaches is in the
replica itself, and Serve's own code calls the user's, so that handlers, batches, model ids and handles work as there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any

from ray import serve

from flyteray._serve.compositions import graph
from flyteray._serve.compositions.client import Client, cancel_calls
from flyteray._serve.compositions.context import pretend, tell_of
from flyteray._serve.compositions.internals import (
    RAY_SERVE_RUN_SYNC_IN_THREADPOOL,
    SERVE_MULTIPLEXED_MODEL_ID,
    Application,
    DeploymentID,
    RequestContext,
    UserCallableWrapper,
    convert_object_to_asgi_messages,
    generate_request_id,
    request_context,
)
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.forwarded import Receive, Scope, Send
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

_FAILURES = 3  # of check_health in a row, as in Serve
_MODEL = SERVE_MULTIPLEXED_MODEL_ID.encode()
_REQUEST = b"x-request-id"
_REFUSED = {"type": "websocket.close", "code": 1013, "reason": "max_queued_requests"}


class Entry:
    """An ASGI application that calls the ingress deployment of ``application`` in this process.

    Its lifespan constructs the user's object and takes leave of it. In local mode (``local``) the other deployments run
    in this process too.
    """

    def __init__(self, application: Application, *, local: bool) -> None:
        self._name = "local" if local else serve.get_replica_context().app_name
        self._local = local
        if local:
            pretend(DeploymentID(name="", app_name=self._name), None, None)
        self._deployment = graph.ingress(application, self._name, local=local)
        self._config = self._deployment._deployment_config
        self._slots = asyncio.Semaphore(self._config.max_ongoing_requests)
        self._queued = 0
        self._wrapper: Any = None
        self._method: Any = None
        self._unwell: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; one more than ``max_ongoing_requests`` waits for another to end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._slots.locked() and 0 <= self._config.max_queued_requests <= self._queued:
            await self._refuse(scope, send)
            return
        self._queued += 1
        try:
            await self._slots.acquire()
        finally:
            self._queued -= 1
        try:
            told = self._context(scope)
            request_context.set(told)  # the server has a context for each request
            if scope["type"] == "websocket":
                await self._call(scope, receive, send)
            else:
                await self._call_for(Client(scope, receive, send), scope, told._internal_request_id)
        finally:
            self._slots.release()

    def check(self) -> None:
        """Raise if the user's ``check_health`` has failed three times in a row, until it succeeds again."""
        if self._unwell is not None:
            raise RuntimeUserError(
                "Unhealthy",
                f"check_health of {self._deployment.name} has failed {_FAILURES} times in a row: {self._unwell!r}",
            ) from self._unwell

    async def _call_for(self, client: Client, scope: Scope, request: str) -> None:
        try:
            await self._call(scope, client.receive, client.send)
        except asyncio.CancelledError:
            if not client.has_gone:
                raise
            cancel_calls(request)
        finally:
            client.leave()

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wrapper._call_http_entrypoint(self._method, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._construct()
        watching = asyncio.ensure_future(self._watch())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        await self._wrapper.call_destructor()
        await send({"type": "lifespan.shutdown.complete"})

    async def _construct(self) -> None:
        deployment = self._deployment
        known = DeploymentID(name=deployment.name, app_name=self._name)
        self._wrapper = UserCallableWrapper(
            deployment.func_or_class,
            deployment.init_args,
            deployment.init_kwargs,
            deployment_id=known,
            run_sync_methods_in_threadpool=RAY_SERVE_RUN_SYNC_IN_THREADPOOL,
            run_user_code_in_separate_thread=False,
            local_testing_mode=False,
            deployment_config=self._config,
            actor_id="",
        )
        await self._wrapper.set_sync_method_threadpool_limit(self._config.max_ongoing_requests)
        await self._wrapper.initialize_callable()
        if self._local:
            pretend(known, self._wrapper.user_callable, self._config)
        else:
            tell_of(self._wrapper.user_callable, self._config)
        rank = serve.get_replica_context().rank
        await self._wrapper.call_reconfigure(self._config.user_config, rank)
        self._method = self._wrapper.get_user_method_info("__call__")

    async def _watch(self) -> None:
        failures = 0
        while (checked := self._wrapper.call_user_health_check()) is not None:
            try:
                await asyncio.wait_for(checked, self._config.health_check_timeout_s)
            except Exception as error:
                failures += 1
                logger.warning("check_health of %s has failed", self._deployment.name, exc_info=True)
                self._unwell = error if failures >= _FAILURES else None
            else:
                failures, self._unwell = 0, None
            await asyncio.sleep(self._config.health_check_period_s)

    def _context(self, scope: Scope) -> RequestContext:
        model = request = ""
        for name, value in scope["headers"]:
            if name == _REQUEST:
                request = value.decode("latin-1")
            elif len(name) == len(_MODEL) and name.replace(b"-", b"_") == _MODEL:
                model = value.decode("latin-1")
        return RequestContext(
            route=scope["path"],
            request_id=request or generate_request_id(),
            _internal_request_id=generate_request_id(),
            app_name=self._name,
            multiplexed_model_id=model,
            is_http_request=True,
            cancel_on_parent_request_cancel=True,
        )

    async def _refuse(self, scope: Scope, send: Send) -> None:
        if scope["type"] == "websocket":
            await send(_REFUSED)
            return
        told = self._config.backpressure_config
        again = [] if told.retry_after_s is None else [(b"retry-after", f"{told.retry_after_s:g}".encode())]
        said = {"error": f"All places of the deployment {self._deployment.name} and of its queue are taken."}
        for message in convert_object_to_asgi_messages(said, status_code=told.status_code):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *again]
            await send(message)


class EntryServer(AsgiServer):
    """Serves the entry of a composition on ``sock``; ``proxies`` as in :class:`AsgiServer`."""

    def __init__(self, entry: Entry, sock: socket.socket, proxies: Sequence[str] | None = None) -> None:
        super().__init__(entry, sock, None, proxies)
        self._entry = entry

    def check(self) -> None:
        """Raise if the ingress deployment is not well by its own word."""
        self._entry.check()
