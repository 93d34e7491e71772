"""Root paths of an application's own are joined to the path under which the ingress serves it.

A root path says where the application is reached from outside. Under a host of its own that is all there is to it;
below ``/<app>`` the two are join_root_paths. Links to it arrive here with it, because nobody in front takes it off.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send
from flyteray._serve.servers.patches import patch


def with_root_path(app: ASGIApp, root_path: str) -> ASGIApp:
    """Wrap an application whose server puts a root path before every path, as uvicorn's ``root_path`` does.

    Paths that have it already are not given it twice.
    """
    own = root_path.rstrip("/")
    if not own:
        return app

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            root = scope["root_path"]
            twice = f"{root}{own}"
            if _is_below(scope["path"], twice):
                _replace(scope, twice, root)
        return app(scope, receive, send)

    return call


@contextlib.contextmanager
def join_root_paths() -> Iterator[None]:
    """Let applications of FastAPI join their ``root_path`` to that of the request, rather than replace it."""
    fastapi: Any = sys.modules.get("fastapi")
    if fastapi is None:
        yield
    else:
        with patch(fastapi.FastAPI, "__call__", _joining(fastapi.FastAPI.__call__)):
            yield


def _joining(call: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(call)
    async def join(app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        own = app.root_path.rstrip("/")
        root = scope.get("root_path", "").rstrip("/")
        if own and scope["type"] != "lifespan" and _is_below(scope["path"], root):
            both = root if root.endswith(own) else f"{root}{own}"  # an app that names the prefix means it
            scope = _FixedRootPath(scope)
            scope.update(root_path=both)
            if not _is_below(scope["path"], both):
                _replace(scope, root, both)
        await call(app, scope, receive, send)

    return join


class _FixedRootPath(dict[str, Any]):
    """A scope whose root path FastAPI can't replace by its own."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name != "root_path":
            super().__setitem__(name, value)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _replace(scope: Scope, root: str, by: str) -> None:
    scope["path"] = by + scope["path"][len(root) :]
    raw, before = scope.get("raw_path"), root.encode("latin-1", "replace")
    if raw is not None and raw.startswith(before):
        scope["raw_path"] = by.encode("latin-1", "replace") + raw[len(before) :]
