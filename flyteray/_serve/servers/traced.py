"""The requests of an ASGI application are spans, below those of the ingress: its handlers run inside them."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, NamedTuple

from flyteray._plan import failure
from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send
from flyteray._serve.servers.protocol import KeptConnections
from flyteray._traces.process import tracer
from flyteray._traces.spans import Carried, Span, begin

Header = tuple[bytes, bytes]

_NAMES = (b"traceparent", b"tracestate")
_SHADOW = b"x-flyteray-shadow"  # copies for shadows have it


def trace_requests(kept: KeptConnections) -> None:
    """Make spans of an application's requests from the next one on, where this process makes any."""
    if tracer() is not None:
        kept.app = TracedRequests(kept.app)


class TracedRequests:
    """An ASGI application whose requests and WebSockets have a span each: it ends with the answer, not with the work
    that goes on after it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        method = scope.get("method", "GET")  # which opens a WebSocket, too
        told = {"http.request.method": method, "url.path": scope["path"]}
        if any(name == _SHADOW for name, _ in scope["headers"]):
            told["flyteray.shadow"] = (
                True  # below the ingress's span of the request, which it says nothing of
            )
        span = begin(method, "server", told, _carried(scope["headers"]))
        if span is None:
            return await self._app(scope, receive, send)
        scope["headers"] = _handed_on(scope["headers"], span.carried())
        with span.inside():
            if not span.is_recorded:
                return await self._app(scope, receive, send)
            answer = _Answer(span, scope, send)
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:
                described = _Raised(
                    type(error).__name__, failure.message(error), failure.user_traceback(error)
                )
                span.fail(f"{described.code}: {described.message}", described)
                raise
            finally:
                answer.end()


class _Raised(NamedTuple):
    code: str
    message: str
    traceback: str


class _Answer:
    """What an application answers, as its span tells of it."""

    def __init__(self, span: Span, scope: Scope, send: Send) -> None:
        self._span = span
        self._scope = scope
        self._send = send
        self._failed = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a message of ASGI."""
        kind = message["type"]
        if kind == "http.response.start":
            self._tell(message["status"])
        elif kind == "websocket.accept":
            self._tell(101)
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False) and not self._failed:
            self.end()  # after a failure the error may still come

    def end(self) -> None:
        """End the span, by the name of the route that was found."""
        route = getattr(self._scope.get("route"), "path", None)
        if route is not None and self._span.is_recorded:
            self._span.rename(f"{self._scope.get('method', 'GET')} {route}")
            self._span.tell({"http.route": route})
        self._span.end()

    def _tell(self, status: int) -> None:
        self._span.tell({"http.response.status_code": status})
        self._failed = status >= 500
        if self._failed:
            self._span.fail(f"status {status}")


def _carried(headers: Iterable[Header]) -> Carried:
    """What a request says of its trace."""
    said = {name: value.decode("latin-1") for name, value in headers if name in _NAMES}
    return tuple(said[name] for name in _NAMES if name in said) if _NAMES[0] in said else ()


def _handed_on(headers: Iterable[Header], carried: Carried) -> list[Header]:
    """The headers for a framework that makes spans of its own, which are to be below the one of these."""
    others = [header for header in headers if header[0] not in _NAMES]
    return others + [(name, value.encode("latin-1")) for name, value in zip(_NAMES, carried, strict=False)]
