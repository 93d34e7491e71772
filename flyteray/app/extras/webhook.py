"""A webhook is an HTTP API that starts tasks and handles runs and apps, for programs that have no Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from flyteray._declare.facts import Role
from flyteray.app.extras._webhook.access import Access
from flyteray.app.extras._webhook.endpoints import choose
from flyteray.app.extras.fastapi import FastAPIAppEnvironment
from flyteray.app.extras.passthrough import FastAPIPassthroughAuthMiddleware
from flyteray.errors import (
    AppNotFoundError,
    BaseRuntimeError,
    RemoteTaskNotFoundError,
    RemoteTaskUsageError,
    RunNotFoundError,
    TriggerNotFoundError,
)

_OPEN = {"/health", "/docs", "/openapi.json", "/redoc"}
_STATUS: dict[type[Exception], int] = {
    AppNotFoundError: 404,
    RemoteTaskNotFoundError: 404,
    RemoteTaskUsageError: 400,
    RunNotFoundError: 404,
    TriggerNotFoundError: 404,
}


@dataclass(eq=False, repr=False, kw_only=True)
class FlyteWebhookAppEnvironment(FastAPIAppEnvironment):
    """A ready FastAPI application with routes for tasks, runs, apps and triggers; its ``/docs`` list them.

    Every route but ``/health`` and the documentation asks for credentials, an ``Authorization`` or ``Cookie`` header
    (401 without), and passes them on to the apps that it calls. Where the ingress asks for keys, GET requests need one
    with the role ``read``, and all others one with ``deploy``. Elsewhere nobody checks them: the webhook does what any
    caller asks for, so keep it where only those get to whom you trust, and list what they may reach.

    Flyte's group ``prefetch`` is not here. There is one project and one domain: in paths and lists
    they are compared as text. ``app`` is made by the kind itself.

    Args:
        title: Of the documentation. Default: the app's name.
        endpoint_groups: Only routes of these groups: ``all``, ``core``, ``task``, ``run``, ``app``,
            ``trigger``, ``build``.
        endpoints: Instead, only these routes: ``health``, ``get_run``, ... Default: all.
        task_allowlist: Only these tasks, as ``name``, ``project/name`` or ``domain/project/name``; others give 403.
        app_allowlist: Only these apps.
        trigger_allowlist: Only these triggers, as ``task/name`` or ``name``.

    Raises:
        TypeError: One str where a list is needed.
        ValueError: Both kinds of endpoints, or one that there is not.
    """

    title: str | None = None
    endpoint_groups: Sequence[str] | None = None
    endpoints: Sequence[str] | None = None
    task_allowlist: Sequence[str] | None = None
    app_allowlist: Sequence[str] | None = None
    trigger_allowlist: Sequence[str] | None = None
    app: FastAPI = field(init=False, repr=False)
    type: str | None = "FlyteWebhookApp"
    forward_key: bool = True
    _roles: ClassVar[tuple[Role, Role]] = ("read", "deploy")

    def __post_init__(self) -> None:
        for name in ("task_allowlist", "app_allowlist", "trigger_allowlist"):
            if isinstance(allowed := getattr(self, name), str):
                raise TypeError(f"{self._words()}: {name} must be a list, not one str: write [{allowed!r}].")
        self.app = self._make_app()
        super().__post_init__()

    def _make_app(self) -> FastAPI:
        app = FastAPI(title=self.title or str(self.name))
        app.state.access = Access(self.name, self.task_allowlist, self.app_allowlist, self.trigger_allowlist)
        for name, endpoint in choose(self._words(), self.endpoint_groups, self.endpoints).items():
            app.add_api_route(endpoint.path, endpoint.handler, methods=[endpoint.method], name=name)
        app.add_middleware(FastAPIPassthroughAuthMiddleware, excluded_paths=_OPEN)
        app.add_exception_handler(BaseRuntimeError, _answer)
        return app


def _answer(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, _STATUS.get(type(error), 500))
