"""The ingress's own pages, below ``/-/``, are served to HAProxy in a thread: they tell of the cluster, with a key."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread

from flyteray._ingress.haproxy.config import OWN_SOCKET
from flyteray._ingress.haproxy.runtime import listen

PLAIN = "text/plain; version=0.0.4; charset=utf-8"  # as Prometheus calls it
_BACKLOG = 16  # connections that are not taken yet

Page = Callable[[], bytes]


class OwnPages:
    """Serves pages to the HAProxy of a directory by their path below ``/-``; one that raises has status 503."""

    def __init__(self, directory: Path, pages: Mapping[str, Page]) -> None:
        self._server = _Server(listen(directory, OWN_SOCKET, _BACKLOG), pages)
        Thread(target=self._server.serve_forever, name="flyteray-own-pages", daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, pages: Mapping[str, Page]) -> None:
        super().__init__("", _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.pages = pages


class _Answer(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            there = ", ".join(f"/-{path}" for path in self.server.pages)
            self._say(404, f"The ingress has no such page. It has: {there}\n".encode())
            return
        try:
            content = page()
        except Exception as error:  # noqa: BLE001  # whatever it is, who asks is told
            self._say(
                503, f"The cluster does not tell at the moment: {type(error).__name__}: {error}\n".encode()
            )
        else:
            self._say(200, content)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the access log has it."""

    def address_string(self) -> str:
        return ""

    def _say(self, status: int, content: bytes) -> None:
        self.send_response_only(status)  # without the names of what serves it
        self.send_header("Content-Type", PLAIN)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
