"""Forwarded headers, the ingress's word about a request, are put where an ASGI application looks for them."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_FORWARDED = re.compile(rb"x[-_](forwarded|flyteray)([-_].*)?|forwarded")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+):\d+")  # as some proxies say an address
_TAKEN_OVER = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")


class ForwardedHeaders:
    """An ASGI application that sees the client's address, scheme, host and path instead of the ingress's.

    The ``X-Forwarded-*`` headers are trusted: the ingress removes those that clients send. ``-Prefix`` is the part of
    the path that the ingress has taken off; it becomes ``root_path``, as the ASGI specification has it, so that links,
    redirects and mounted applications are right under a path as well as under a host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.lifespan_error: BaseException | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Runs for every request: no coroutine of its own, one pass over the headers.
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        host = prefix = client = None
        for name, value in scope["headers"]:
            if name[:3] != b"x-f":
                continue
            if name == b"x-forwarded-for":
                client = client or value
            elif name == b"x-flyteray-client":  # the first in that list may be anybody's word
                client = value
            elif name == b"x-forwarded-proto":
                scope["scheme"] = _scheme(value, scope["type"])
            elif name == b"x-forwarded-host":
                host = value
            elif name == b"x-forwarded-prefix":
                prefix = value
        if client is not None:
            scope["client"] = (client.partition(b",")[0].strip().decode("latin-1"), 0)
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


class ProxyHeaders:
    """An ASGI application without an ingress in front, whose headers only trusted proxies may send.

    Those that others send are taken away; those of trusted proxies are handed on as the ingress does. ``proxies`` are
    their networks, in CIDR notation.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str] = ()) -> None:
        self._app = app
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            sent = scope["headers"]
            kept = [header for header in sent if not _FORWARDED.fullmatch(header[0])]
            peer = (scope.get("client") or ("", 0))[0]
            if len(kept) < len(sent) and self._trusts(peer):
                told = [(name, value) for name, value in sent if name in _TAKEN_OVER]
                hops = b",".join(value for name, value in told if name == b"x-forwarded-for").split(b",")
                chain = [peer, *(_address(hop.strip().decode("latin-1")) for hop in reversed(hops))]
                trusted = list(itertools.takewhile(self._trusts, chain))
                client = chain[min(len(trusted), len(chain) - 1)]
                kept += [*told, (b"x-flyteray-client", (client or peer).encode("latin-1"))]
            scope["headers"] = kept
        return self._app(scope, receive, send)

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)


def _address(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    return (found[1] or found[2]) if found else hop


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
