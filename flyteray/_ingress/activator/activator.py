"""The activator holds requests that find no replica until one has started, and hands them on; none is lost.

HAProxy sends it what no replica of a backend can take, each request on a connection of its own that begins with a
PROXY header. That says which backend and app it is about, where no client can.

A request that can be repeated is handed on by ending its connection unanswered: HAProxy takes that for a broken
replica and asks the one that is ready, as it does for any such request. From then on the request is like any other,
however long it lasts. What has a body, or may act twice, passes through to the replica instead, to its end. So does
what waited for a replica on another node: all of it comes at one time, and HAProxy soon gives up a connection to there.

To replicas that speak HTTP/2 a connection of one request passes through as it is, whatever it brings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from flyteray._ingress.activator import frames
from flyteray._ingress.activator.chunks import Chunked
from flyteray._ingress.activator.request import Request, read
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.answers import LARGEST_HEAD, REFUSED, large_body, not_ready, queue_full
from flyteray._ingress.haproxy.config import ACTIVATOR_SOCKET
from flyteray._ingress.haproxy.runtime import listen
from flyteray._ingress.routes import ELSEWHERE, IngressState, Slot, speaks_http2
from flyteray._machine.socket_server import SocketServer

_MOST = 1024  # requests at one time
_BACKLOG = 4096  # connections that are not taken yet: HAProxy refuses a request that finds no room there
_HEAD_S = 10.0  # for HAProxy to send what it has in its memory
_HEAD_BYTES = 2 * LARGEST_HEAD
_AHEAD = 64 << 10  # of a body, read while its request waits
_CONNECT_S = 1.0
_HANDSHAKES = 16  # with other nodes at one time: more would all be late
_AGAIN_S = 0.5  # from one attempt to reach a replica that HAProxy could not reach to the next
_LONGEST_MESSAGE = 1000  # characters that fit into a header, of gRPC
_LINGER_S = 5.0  # for HAProxy to take a refusal, and what it sends meanwhile


class Activator:
    """Serves the backends of an ingress that have no replica, in a thread of its own.

    A request waits as long as the state lets its app wait for a replica; that of an app that is not to wait is
    answered at once. HAProxy runs in ``directory``: a new one for it takes the place of an older one, whose requests
    end.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._identities: dict[bool, ssl.SSLContext] = {}  # for what is over HTTP/2, and for what is not
        self._state = IngressState()
        self._held = 0
        self._passing: Counter[int] = Counter()  # requests that pass through to replicas, by backend
        self._most = max(16, min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._handshakes = asyncio.Semaphore(_HANDSHAKES)
        self._changed = asyncio.Event()  # the state is another one; each has an event of its own
        self._arrived = asyncio.Event()  # a request has begun to wait
        self._server = SocketServer(
            listen(directory, ACTIVATOR_SOCKET, _BACKLOG),
            self._serve,
            name="flyteray-activator",
            backlog=_BACKLOG,
            limit=_HEAD_BYTES,
        )

    def update(self, state: IngressState) -> None:
        """Go by another state from now on; HAProxy must know it already."""
        self._server.loop.call_soon_threadsafe(self._update, state)

    def identify(self) -> None:
        """Reach the ingresses of other nodes with the certificate that is in the directory now."""
        known = {}
        for over_http2 in (False, True):
            known[over_http2] = ssl.create_default_context(cafile=self._directory / maps.CA_FILE)
            known[over_http2].load_cert_chain(self._directory / maps.PEER_FILE)
        known[True].set_alpn_protocols(["h2"])
        self._server.loop.call_soon_threadsafe(setattr, self, "_identities", known)

    def close(self) -> None:
        """Take no more; what waits ends. Doing it again is fine."""
        self._server.close()

    async def need(self, timeout_s: float) -> bool:
        """Whether a request has begun to wait for a replica, at the latest after ``timeout_s`` seconds."""
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._need(timeout_s), self._server.loop)
        )

    def _update(self, state: IngressState) -> None:
        self._state = state
        self._look_again()

    def _look_again(self) -> None:
        """Have all that waits look for a replica again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _need(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except asyncio.TimeoutError:
            return False
        self._arrived.clear()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(read(reader, writer), _HEAD_S)
            if self._held >= self._most:
                await _refuse(request, self._state, reader, writer)
            else:
                self._held += 1
                try:
                    await self._hold(request, reader, writer)
                finally:
                    self._held -= 1
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # the client has left, or a replica that was reached has
        except (ValueError, struct.error, asyncio.LimitOverrunError):
            pass  # it is not HAProxy that asks

    async def _hold(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        unreached = self._own(request)
        ahead = loop.create_task(_read_ahead(reader, request.body))
        try:
            while True:
                changed = self._changed
                own = self._own(request)
                if own != unreached and _is_here(own) and request.is_repeatable:
                    return
                backend = self._backend(request, own)
                full = backend is not None and self._is_full(backend)
                if backend is not None and (replica := await self._enter(request, backend)) is not None:
                    break
                left = arrived + self._state.waits.get(request.app, 0) / 1000 - loop.time()
                if left <= 0:
                    ahead.cancel()
                    await (_refuse_more if full else _refuse)(request, self._state, reader, writer)
                    return
                self._arrived.set()
                changing = loop.create_task(changed.wait())
                await asyncio.wait(
                    {ahead, changing},
                    timeout=min(left, _AGAIN_S) if own else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changing.cancel()
                if ahead.done():
                    return  # who asked has left
        finally:
            ahead.cancel()
        limit = self._state.limits.get(request.app)
        try:
            await asyncio.wait({ahead})
            await _pass_on(request, (reader, writer), replica, limit.body if limit else 0)
        finally:
            self._passing[backend] -= 1
            if self._state.most(backend):
                self._look_again()

    def _own(self, request: Request) -> Mapping[int, Slot]:
        """The replicas of the backend that the request waits at: none once that is not its app's any more."""
        backend, state = request.backend, self._state
        if backend is None:
            return {}
        is_its = (
            request.app == state.owners.get(backend)
            if request.is_copy
            else backend == state.apps.get(request.app)
        )
        return state.slots(backend) if is_its else {}

    def _backend(self, request: Request, own: Mapping[int, Slot]) -> int | None:
        """That of the request's version, or of the one that has taken its place meanwhile: of a copy nothing else."""
        if own:
            return request.backend
        return None if request.is_copy else self._state.apps.get(request.app)

    def _is_full(self, backend: int) -> bool:
        """Whether as many requests pass to the replicas of a backend as these take at one time."""
        most = self._state.most(backend)
        return most > 0 and self._passing[backend] >= most * max(1, len(self._state.slots(backend)))

    async def _enter(
        self, request: Request, backend: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a replica that takes one more; the request counts as passing from then on."""
        if self._is_full(backend):
            return None
        self._passing[backend] += 1
        replica = None
        try:
            replica = await self._reach(request, backend)
        finally:
            self._passing[backend] -= replica is None
        return replica

    async def _reach(
        self, request: Request, backend: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a replica of a backend that speaks as the request does."""
        slots = self._state.slots(backend)
        speaking = [number for number in slots if speaks_http2(number) == request.over_http2]
        for number in sorted(speaking, key=lambda number: (number > ELSEWHERE, random.random())):
            slot = slots[number]
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if number < ELSEWHERE:
                    opening = asyncio.open_connection(slot.host, slot.port)
                    reached = await asyncio.wait_for(opening, _CONNECT_S)
                else:
                    async with self._handshakes:
                        opening = asyncio.open_connection(
                            slot.host,
                            slot.port,
                            ssl=self._identities.get(request.over_http2, True),
                            server_hostname=maps.PEER_NAME,
                        )
                        reached = await asyncio.wait_for(opening, _CONNECT_S)
                request.choose(maps.server_name(backend, number))
                return reached
        return None


def _is_here(slots: Mapping[int, Slot]) -> bool:
    """Whether one of the replicas is on this node."""
    return any(number < ELSEWHERE for number in slots)


async def _read_ahead(reader: asyncio.StreamReader, body: bytearray) -> None:
    """Read while a request waits; return when the client has left."""
    while len(body) < _AHEAD:
        try:
            data = await reader.read(_AHEAD - len(body))
        except OSError:
            return
        if not data:
            return
        body += data
    await asyncio.Event().wait()  # the rest waits with HAProxy


async def _refuse(
    request: Request, state: IngressState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    why = {"error": not_ready(request.app, state.reasons.get(request.app))}
    await _say(request, ("503 Service Unavailable", "Retry-After: 1\r\n"), why, reader, writer)


async def _refuse_more(
    request: Request, _: IngressState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    why = {"error": queue_full(request.app), "app": request.app, "limit": "concurrency"}
    await _say(request, ("429 Too Many Requests", "Retry-After: 1\r\n"), why, reader, writer)


async def _say(
    request: Request,
    head: tuple[str, str],
    why: Mapping[str, str],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answer with the words of an error, in JSON with all that there is to tell; ``head`` is status and headers."""
    if request.over_http2:
        writer.write(frames.unavailable(int(head[0].partition(" ")[0]), why["error"][:_LONGEST_MESSAGE]))
        await _end(reader, writer)
        return
    kind = "application/json" if request.asks_for_json else "text/plain; charset=utf-8"
    body = (json.dumps(why) if request.asks_for_json else f"{why['error']}\n").encode()
    status, headers = head
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}"
        f"{REFUSED}: 1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(lines.encode() + (b"" if request.method == "HEAD" else body))
    await _end(reader, writer)


async def _end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End what was written to HAProxy; a connection that is closed before all was read breaks, with that."""
    writer.write_eof()

    async def discard() -> None:
        while await reader.read(_AHEAD):
            pass

    await asyncio.wait_for(discard(), _LINGER_S)


class _TooLargeError(Exception):
    """The body has more bytes than the app takes."""


def _through(request: Request, most: int) -> Callable[[bytes], bytes]:
    """What is to be done to the bytes of a body on their way; ``most`` of them are let through, all for 0."""
    if not request.is_chunked:  # HAProxy knows its length
        return bytes
    body = Chunked()

    def through(data: bytes) -> bytes:
        out = body.feed(data)
        if most and body.size > most:
            raise _TooLargeError
        return out

    return through


async def _pass_on(
    request: Request,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    replica: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    most: int,
) -> None:
    """Let bytes through in both directions until one side ends, or the body has had more than ``most``, 0 for any."""
    through = _through(request, most)
    answered = False

    def back(data: bytes) -> bytes:
        nonlocal answered
        answered = True
        return data

    async def there() -> None:
        replica[1].write(request.head + through(bytes(request.body)))
        await _pump(client[0], replica[1], through)

    ways = [asyncio.ensure_future(there()), asyncio.ensure_future(_pump(replica[0], client[1], back))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        replica[1].close()
        ended = await asyncio.gather(*ways, return_exceptions=True)
    if isinstance(ended[0], _TooLargeError) and not answered:
        why = {"error": large_body(request.app, most), "app": request.app, "limit": "body"}
        await _say(request, ("413 Content Too Large", ""), why, *client)


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, through: Callable[[bytes], bytes] = bytes
) -> None:
    while data := await source.read(_AHEAD):
        target.write(through(data))
        await target.drain()
