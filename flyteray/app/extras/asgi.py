"""An ASGI application of any framework is served as an app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flyteray._declare.environment import without_meaning
from flyteray.app.environment import AppEnvironment

if TYPE_CHECKING:
    import uvicorn

ASGIApp = Callable[..., Awaitable[None]]


@dataclass(eq=False, repr=False, kw_only=True)
class ASGIAppEnvironment(AppEnvironment):
    """An :class:`AppEnvironment` whose replicas serve an ASGI application by uvicorn, in the replica's process.

    Lifespan, WebSockets, streaming responses and background tasks work as under uvicorn itself, and the application
    is told the path that it is reached under (``root_path``). A function registered with ``@env.server`` is run
    instead. Beyond Flyte; :class:`FastAPIAppEnvironment` is the kind for FastAPI.

    Args:
        app: The application: Starlette, Litestar, Quart, Django's ``get_asgi_application()``, ... For one that
            refuses the lifespan protocol, as Django's does, say so: ``uvicorn.Config(app, lifespan="off")``.
        uvicorn_config: Settings of uvicorn for it. Host, port, logging and workers are chosen by flyteray; TLS belongs
            to the ingress. Of other settings that have no effect here a warning tells.

    Raises:
        TypeError: ``app`` can't be called, or ``uvicorn_config`` is no ``uvicorn.Config``.
        ValueError: There is a command or args, which would never run.
    """

    app: Any
    type: str | None = "ASGI"
    uvicorn_config: uvicorn.Config | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_app()
        if self.words():
            raise ValueError(
                f"{self._words()} serves its application in the replica's process, so command and args would never "
                "run: leave them out, or use AppEnvironment."
            )
        if self.uvicorn_config is not None:
            self._check_uvicorn_config()

    def asgi_app(self) -> ASGIApp:
        """The application, called once in each replica."""
        app: ASGIApp = self.app
        return app

    @property
    def kind(self) -> Literal["asgi", "function", "command"]:
        """The host of a replica: the application, or the server function where there is one."""
        return "asgi" if self._server is None else "function"

    def _check_app(self) -> None:
        if not callable(self.app):
            raise TypeError(f"{self._words()}: app must be an ASGI application, got {self.app!r}.")

    def _check_uvicorn_config(self) -> None:
        import uvicorn  # deferred: only for those who configure it: it takes a tenth of a second to load

        if not isinstance(self.uvicorn_config, uvicorn.Config):
            raise TypeError(
                f"{self._words()}: uvicorn_config must be a uvicorn.Config, got {self.uvicorn_config!r}."
            )
        from flyteray._serve.servers.asgi import without_effect  # deferred, as above

        if names := without_effect(self.uvicorn_config):
            without_meaning(self._words(), f"uvicorn_config with {' and '.join(names)}")
