"""A steady load on an app: requests at a rate, with WebSockets and event streams that stay open beside them."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

STREAMS = 20  # of each kind
_AGAIN_S = 0.1  # before a stream that was cut is opened anew


def add_streams(api: FastAPI) -> None:
    """Give an application the streams that :class:`Clients` opens."""

    @api.get("/events")
    async def events() -> StreamingResponse:
        async def ticks() -> AsyncIterator[str]:
            while True:
                yield "data: tick\n\n"
                await asyncio.sleep(0.5)

        return StreamingResponse(ticks(), media_type="text/event-stream")

    @api.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)


@dataclass(frozen=True)
class Asked:
    """A request: when it began and ended, by the monotonic clock, and its status or the error's name."""

    began: float
    ended: float
    answer: str


@dataclass(frozen=True)
class Cut:
    """A stream that was open and has been cut: when, and how."""

    at: float
    how: str


class Clients:
    """Requests at a steady rate, and streams that stay open; in a thread of their own.

    Args:
        url: The app's, without a slash at its end.
        rate: Requests a second.
        key: What the app is to be shown.
        tls: Whom to trust where the URL is one of https.

    Attributes:
        asked: The requests that have ended.
        cut: The streams that were cut; each was opened anew.
        ticks: What came by the streams.
    """

    def __init__(self, url: str, rate: float, key: str, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.cut: list[Cut] = []
        self.ticks = 0
        self._url, self._rate, self._headers = url, rate, {"Authorization": f"Bearer {key}"}
        self._tls = tls
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @property
    def answers(self) -> Counter[str]:
        """How often each answer came."""
        return Counter(each.answer for each in self.asked)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers
        ) as session:
            streams = [asyncio.create_task(self._keep(session, self._talk)) for _ in range(STREAMS)]
            streams += [asyncio.create_task(self._keep(session, self._listen)) for _ in range(STREAMS)]
            asked: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self._over.is_set():
                task = asyncio.create_task(self._ask(session))
                asked.add(task)
                task.add_done_callback(asked.discard)
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*asked)
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.get(self._url + "/") as response:
                await response.read()
                answer = str(response.status)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            answer = type(error).__name__
        self.asked.append(Asked(began, time.monotonic(), answer))

    async def _keep(self, session: aiohttp.ClientSession, stream: Stream) -> None:
        while True:
            opened = False

            def tick() -> None:
                nonlocal opened
                opened = True
                self.ticks += 1

            try:
                how = await stream(session, tick)
            except (aiohttp.ClientError, asyncio.TimeoutError, TypeError) as error:
                how = repr(error)
            if opened:  # one that could not be opened again is none that was cut
                self.cut.append(Cut(time.monotonic(), f"{stream.__name__}: {how}"))
            await asyncio.sleep(_AGAIN_S)

    async def _talk(self, session: aiohttp.ClientSession, tick: Callable[[], None]) -> str:
        async with session.ws_connect(self._url + "/echo") as socket:
            while True:
                await socket.send_str("there?")
                await socket.receive_str(timeout=60)
                tick()
                await asyncio.sleep(0.5)

    async def _listen(self, session: aiohttp.ClientSession, tick: Callable[[], None]) -> str:
        async with session.get(self._url + "/events") as response:
            response.raise_for_status()
            async for _ in response.content:
                tick()
        return "its end"


Stream = Callable[[aiohttp.ClientSession, Callable[[], None]], Awaitable[str]]
