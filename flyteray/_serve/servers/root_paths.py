"""Root paths of an application's own, joined to the path that the ingress serves it under.

A root path says where the application is reached from outside. Under a host of its own that is all there is to it;
below ``/<app>`` the two are joined. Links to it arrive here with it, because nobody in front takes it off.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send
from flyteray._serve.servers.patches import replaced


def rooted(app: ASGIApp, root_path: str) -> ASGIApp:
    """An application behind a server with that root path."""
    return _RootPath(app, root_path) if root_path.strip("/") else app


class _RootPath:
    """An ASGI application whose server puts a root path before every path, as uvicorn's ``root_path`` does.

    Paths that have it already are not given it twice.

    Args:
        app: The application.
        root_path: That of its server.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._own = root_path.rstrip("/")

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            root = scope["root_path"]
            twice = f"{root}{self._own}"
            if _is_below(scope["path"], twice):
                _replace(scope, twice, root)
        return self._app(scope, receive, send)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Have applications of FastAPI meanwhile join their ``root_path`` to that of the request, in place of it."""
    fastapi: Any = sys.modules.get("fastapi")
    if fastapi is None:
        yield
    else:
        with replaced(fastapi.FastAPI, "__call__", _joining(fastapi.FastAPI.__call__)):
            yield


def _joining(call: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(call)
    async def join(app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        own = app.root_path.rstrip("/")
        root = scope.get("root_path", "").rstrip("/")
        if own and scope["type"] != "lifespan" and _is_below(scope["path"], root):
            both = root if root.endswith(own) else f"{root}{own}"  # who names the prefix means it
            scope = _Kept(scope)
            scope.update(root_path=both)
            if not _is_below(scope["path"], both):
                _replace(scope, root, both)
        await call(app, scope, receive, send)

    return join


class _Kept(dict[str, Any]):
    """A scope whose root path FastAPI does not replace by its own."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name != "root_path":
            super().__setitem__(name, value)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _replace(scope: Scope, root: str, by: str) -> None:
    scope["path"] = by + scope["path"][len(root) :]
    raw = scope.get("raw_path")
    if raw is not None and raw.startswith(root.encode("latin-1", "replace")):
        scope["raw_path"] = by.encode("latin-1", "replace") + raw[len(root.encode("latin-1", "replace")) :]
