"""A Gradio demo is served as an app."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fastapi import FastAPI

from flyteray.app.extras.asgi import ASGIApp, ASGIAppEnvironment

if TYPE_CHECKING:
    import gradio

_OURS = ("app", "blocks", "path", "root_path", "server_name", "server_port")


@dataclass(eq=False, repr=False, kw_only=True)
class GradioAppEnvironment(ASGIAppEnvironment):
    """An :class:`AppEnvironment` whose replicas serve a Gradio demo, in the replica's process.

    Right behind both addresses of an app. A browser stays on its replica, which keeps what the visitor has done;
    that is lost when another version takes over. Gradio's usage statistics are off unless ``env_vars`` turns them
    on. Beyond Flyte.

    Args:
        demo: A ``gradio.Blocks``, such as an ``Interface``, or a function without arguments that makes it: called
            once in each replica, after the parameters are there.
        options: Keyword arguments of ``gradio.mount_gradio_app``: ``theme``, ``css``, ``auth``, ...

    Raises:
        TypeError: ``demo`` is neither.
        ValueError: An option that flyteray decides.
        ModuleNotFoundError: In a replica without Gradio.
    """

    _sticky: ClassVar[bool] = True

    demo: gradio.Blocks | Callable[[], gradio.Blocks]
    options: dict[str, Any] = field(default_factory=dict)
    app: Any = field(init=False, default=None, repr=False)
    type: str | None = "Gradio"

    def __post_init__(self) -> None:
        super().__post_init__()
        if taken := sorted(set(self.options) & set(_OURS)):
            raise ValueError(
                f"{self._words()}: flyteray decides on {', '.join(taken)}: leave it out of options."
            )
        self.env_vars = {"GRADIO_ANALYTICS_ENABLED": "False", **(self.env_vars or {})}

    def asgi_app(self) -> ASGIApp:
        """The demo as an application; made anew by each call.

        Raises:
            ModuleNotFoundError: Gradio is not installed here.
            TypeError: The function made something else.
        """
        try:
            import gradio  # deferred: it takes seconds to load, and only replicas need it
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{self._words()} needs Gradio where it runs: pip install gradio", name=error.name
            ) from error

        demo = self.demo if isinstance(self.demo, gradio.Blocks) else self.demo()
        if not isinstance(demo, gradio.Blocks):
            raise TypeError(
                f"{self._words()}: the function that makes its demo must return a gradio.Blocks, got {demo!r}."
            )
        return _Unforwarded(gradio.mount_gradio_app(FastAPI(), demo, path="/", **self.options))

    def _check_app(self) -> None:
        # Who made Blocks has loaded Gradio; who gives a function need not have it.
        loaded = sys.modules.get("gradio")
        blocks = getattr(loaded, "Blocks", None)
        if blocks is not None and isinstance(self.demo, blocks):
            return
        if not callable(self.demo) or isinstance(self.demo, type):
            raise TypeError(
                f"{self._words()}: demo must be a gradio.Blocks or a function that makes one, got {self.demo!r}."
            )


class _Unforwarded:
    """Hides the ``X-Forwarded-*`` headers, which flyteray has put into the scope already.

    Gradio makes addresses from them without the path that the app is reached under; from the scope it makes right ones.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if "headers" in scope:
            headers = [each for each in scope["headers"] if not each[0].startswith(b"x-forwarded-")]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)
