"""Replicas for the ingress to route to: real servers in threads of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import uvicorn

from flyteray._ingress.routes import Slot
from tests.waiting import eventually


class Replica:
    """An app that says who answered and what arrived.

    ``/stream`` sends one line each time ``go_on`` is set, ``/slow`` answers when ``go_on`` is set, ``/slow-stream``
    does the latter, then the former; anything else answers at once; a WebSocket echoes with the replica's name before.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on = threading.Event()
        self.requests = 0
        self.left = 0  # clients that went away before the answer
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._app,
            log_config=None,
            ws="websockets-sansio",
            timeout_keep_alive=75,
            lifespan="off",
            interface="asgi3",
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    @property
    def slot(self) -> Slot:
        return Slot(*self._socket.getsockname())

    def start(self) -> None:
        self._thread.start()
        eventually(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self.go_on.set()
        self._thread.join(timeout=10)
        self._socket.close()

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._echo(scope, receive, send)
            return
        self.requests += 1
        path = scope["path"]
        if path.startswith("/slow"):
            await self._until_told(receive)
        body = b""
        while not path.startswith("/slow") and (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"x-replica", self.name.encode())]}
        )
        if path.endswith("stream"):
            for number in range(3):
                await self._until_told(receive)
                await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        seen = {
            "replica": self.name,
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "body": body.decode(),
        }
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})

    async def _until_told(self, receive: Any) -> None:
        async def leaves() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1

        leaving = asyncio.ensure_future(leaves())
        told = asyncio.ensure_future(asyncio.to_thread(self.go_on.wait))
        await asyncio.wait([leaving, told], return_when=asyncio.FIRST_COMPLETED)
        if told.done():  # whose client has left takes nothing from another one
            self.go_on.clear()
        leaving.cancel()

    async def _echo(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{self.name} {scope['path']}"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{self.name} {message['text']}"})


class BrokenReplica:
    """Reads each request and closes the connection without a word."""

    def __init__(self) -> None:
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def slot(self) -> Slot:
        return Slot(*self._socket.getsockname())

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(ConnectionError), connection:  # health checks end by a reset
                self.requests += bool(connection.recv(1 << 16))


class RawReplica:
    """Keeps each request as it arrived, and answers with what ``answer`` makes of it; without a word if that is None.

    Args:
        answer: From the whole request to the whole answer; by default one whose body is the request.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None] | None = None) -> None:
        self.requests: list[bytes] = []
        self._answer = answer or answered
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def slot(self) -> Slot:
        return Slot(*self._socket.getsockname())

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as reader:
            while request := _request(reader):
                self.requests.append(request)
                answer = self._answer(request)
                if answer is None:
                    return
                connection.sendall(answer)


def answered(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n" + body


def _request(reader: BinaryIO) -> bytes:
    """One request to its end, with what comes after its body."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        line = reader.readline()
        if not line:
            return b""
        request += line
    if length := re.search(rb"\r\ncontent-length: (\d+)", request, re.IGNORECASE):
        request += reader.read(int(length[1]))
    elif re.search(rb"\r\ntransfer-encoding: chunked", request, re.IGNORECASE):
        size = 1
        while size:
            line = reader.readline()
            if not line:
                return b""  # it was cut
            size = int(line, 16)
            request += line + (reader.read(size + 2) if size else b"")
        while (line := reader.readline()) != b"\r\n":
            request += line
        request += line
    return request


@contextlib.contextmanager
def replicas(*names: str) -> Iterator[list[Replica]]:
    """Replicas of these names, listening; they end with the block."""
    made = [Replica(name) for name in names]
    for replica in made:
        replica.start()
    try:
        yield made
    finally:
        for replica in made:
            replica.stop()
