"""A FastAPI application as an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastapi import FastAPI

from flyteray.app.environment import AppEnvironment

if TYPE_CHECKING:
    import uvicorn


@dataclass(eq=False, repr=False, kw_only=True)
class FastAPIAppEnvironment(AppEnvironment):
    """An :class:`AppEnvironment` whose replicas serve a FastAPI application by uvicorn.

    Lifespan, WebSockets, streaming responses and background tasks work as under uvicorn itself. A function
    registered with ``@env.server`` is run instead.

    Args:
        app: The application.
        uvicorn_config: Settings of uvicorn for it. Host, port, logging and workers are chosen by flyteray.

    Raises:
        TypeError: ``app`` is no FastAPI application, or ``uvicorn_config`` no ``uvicorn.Config``.
    """

    app: FastAPI
    type: str | None = "FastAPI"
    uvicorn_config: uvicorn.Config | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.app, FastAPI):
            raise TypeError(f"{self._words()}: app must be a FastAPI application, got {self.app!r}.")
        if self.uvicorn_config is not None:
            self._check_uvicorn_config()

    def _check_uvicorn_config(self) -> None:
        import uvicorn  # only for those who configure it: it takes a tenth of a second to load

        if not isinstance(self.uvicorn_config, uvicorn.Config):
            raise TypeError(
                f"{self._words()}: uvicorn_config must be a uvicorn.Config, got {self.uvicorn_config!r}."
            )

    @property
    def kind(self) -> Literal["asgi", "function", "command"]:
        """What a replica hosts: the application, or the server function where there is one."""
        return "asgi" if self._server is None else "function"
