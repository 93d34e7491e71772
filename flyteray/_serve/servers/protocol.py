"""uvicorn's protocol reads heads of every size that the ingress lets through, and takes no headers after them.

A failure after an answer's end leaves the connection: the next request may be on its way on it.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("uvicorn.error")

_LONGEST_URL = 65535  # that httptools takes apart
_LONGEST_LINE = 128 << 10  # of a handshake
_MOST_HEADERS = 1024


class HttpProtocol(HttpToolsProtocol):
    """Drops trailers after a body in chunks, which uvicorn's own takes for headers, and so for the ingress's word."""

    def on_headers_complete(self) -> None:
        scope: Any = self.scope
        scope["headers"] = list(self.headers)  # trailers come into the other list
        if len(self.url) <= _LONGEST_URL:
            super().on_headers_complete()
            return
        url, self.url = self.url, b"/"  # the application starts later
        super().on_headers_complete()
        self.url = url
        path, _, query = url.partition(b"#")[0].partition(b"?")
        root_path = scope["root_path"]
        scope["path"] = root_path + unquote(path.decode("latin-1"))
        scope["raw_path"] = root_path.encode("ascii") + path
        scope["query_string"] = query


def take_large_handshakes(ws: Any) -> None:
    """Let WebSockets be opened with heads as large as other requests have: ``websockets`` takes 8 KB a line.

    ``ws`` is uvicorn's option of that name.
    """
    modules = ["websockets.http11", *(["websockets.legacy.http"] if ws == "websockets" else [])]
    for module in map(importlib.import_module, modules):
        limits: Any = module
        limits.MAX_LINE_LENGTH = max(limits.MAX_LINE_LENGTH, _LONGEST_LINE)
        limits.MAX_NUM_HEADERS = max(limits.MAX_NUM_HEADERS, _MOST_HEADERS)


class KeptConnections:
    """An ASGI application of which what it raises after an answer is logged and cuts nothing.

    Frameworks raise an error again that they have answered with status 500, and work that runs after an answer may
    fail. uvicorn closes the connection then, and does not say so in the answer: the ingress may have sent another
    request there, which is lost with it.

    Attributes:
        app: What answers; another one takes over with the next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            # uvicorn's own state of an answer, in all of its protocols for HTTP
            if not getattr(getattr(send, "__self__", None), "response_complete", False):
                raise
            logger.error("Exception in ASGI application\n", exc_info=error)
