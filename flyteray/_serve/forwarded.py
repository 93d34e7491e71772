"""What the ingress says about a request, put where an ASGI application looks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Forwarded:
    """An ASGI application that sees the client's address, scheme, host and path instead of the ingress's.

    The ``X-Forwarded-*`` headers are trusted: the ingress removes what clients send of them. ``-Prefix`` is
    the part of the path that the ingress has taken off; it becomes ``root_path``, as the ASGI specification
    has it, so that links, redirects and mounted applications are right under a path as well as under a host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.lifespan_error: BaseException | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Runs for every request: no coroutine of its own, one pass over the headers.
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        host = prefix = None
        for name, value in scope["headers"]:
            if name[:12] != b"x-forwarded-":
                continue
            if name == b"x-forwarded-for":
                scope["client"] = (value.partition(b",")[0].strip().decode("latin-1"), 0)
            elif name == b"x-forwarded-proto":
                scope["scheme"] = _scheme(value, scope["type"])
            elif name == b"x-forwarded-host":
                host = value
            elif name == b"x-forwarded-prefix":
                prefix = value
        if host is not None:
            _set_host(scope, host)
        if prefix is not None:
            _set_prefix(scope, prefix.rstrip(b"/"))
        return self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The server only keeps the text of what a lifespan raises.
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            self.lifespan_error = error
            raise


def _scheme(proto: bytes, kind: str) -> str:
    secure = proto in (b"https", b"wss")
    if kind == "websocket":
        return "wss" if secure else "ws"
    return "https" if secure else "http"


def _set_host(scope: Scope, host: bytes) -> None:
    headers = scope["headers"]
    for position, (name, value) in enumerate(headers):
        if name == b"host":
            if value != host:
                headers[position] = (b"host", host)
            return
    headers.append((b"host", host))


def _set_prefix(scope: Scope, prefix: bytes) -> None:
    text = prefix.decode("latin-1")
    scope["root_path"] = text + scope.get("root_path", "")
    scope["path"] = text + scope["path"]
    if scope.get("raw_path") is not None:
        scope["raw_path"] = prefix + scope["raw_path"]
