"""uvicorn's protocol reads heads of every size that the ingress lets through, and takes no headers after them."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LONGEST_URL = 65535  # that httptools takes apart
_LONGEST_LINE = 128 << 10  # of a handshake
_MOST_HEADERS = 1024


class HttpProtocol(HttpToolsProtocol):
    """Drops trailers after a body in chunks, which uvicorn's own takes for headers, and so for the ingress's word."""

    _in_head = True

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) <= _LONGEST_URL:
            super().on_headers_complete()
            return
        scope: Any = self.scope
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
