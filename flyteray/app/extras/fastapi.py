"""A FastAPI application is served as an app."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from flyteray.app.extras.asgi import ASGIAppEnvironment
from flyteray.app.routing import Link


@dataclass(eq=False, repr=False, kw_only=True)
class FastAPIAppEnvironment(ASGIAppEnvironment):
    """An :class:`AppEnvironment` whose replicas serve a FastAPI application by uvicorn.

    Lifespan, WebSockets, streaming responses and background tasks work as under uvicorn itself. A function
    registered with ``@env.server`` is run instead. A link to its OpenAPI pages comes before ``links``.

    Args:
        app: The application.
        uvicorn_config: Settings of uvicorn for it. Host, port, logging and workers are chosen by flyteray.

    Raises:
        TypeError: ``app`` is no FastAPI application, or ``uvicorn_config`` no ``uvicorn.Config``.
    """

    app: FastAPI
    type: str | None = "FastAPI"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.app.docs_url is None:
            return
        docs = Link(self.app.docs_url, "FastAPI OpenAPI Docs", is_relative=True)
        if docs not in self.links:  # a clone has it already
            self.links.insert(0, docs)

    def _check_app(self) -> None:
        self._expect("app", FastAPI, "a FastAPI application")
