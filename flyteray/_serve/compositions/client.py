"""The client of a request: when it goes away, what works on its request is cancelled, in other deployments too."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from flyteray._serve.compositions.internals import context
from flyteray._serve.servers.forwarded import Receive, Scope, Send

_STAYS = (b"x-request-disconnect-disabled", b"?1")  # Serve's header: the request is worked on in any case
_BODY = (b"content-length", b"transfer-encoding")
_SHORT_S = 0.05  # a request that is over by then needs no task that watches


class Client:
    """The client of the HTTP request that the current task handles, as its handler meets it.

    A body is not read ahead of the handler: that the client has gone is seen when it has been read, or there is none.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._task = asyncio.current_task()
        self._answered = False
        self._stays = _STAYS in scope["headers"]
        self._unread: list[dict[str, Any]] = []
        self._watching: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self.has_gone = False
        if not any(name in _BODY for name, _ in scope["headers"]):
            self._unread.append({"type": "http.request", "body": b"", "more_body": False})
            self._later = asyncio.get_running_loop().call_later(_SHORT_S, self._watch)

    async def receive(self) -> MutableMapping[str, Any]:
        """As an ASGI server's."""
        if self._unread:
            return self._unread.pop()
        if self._later is not None:
            await asyncio.wait([self._watch()])
            return {"type": "http.disconnect"}
        message = await self._receive()
        if not message.get("more_body", False):
            self._later = asyncio.get_running_loop().call_later(_SHORT_S, self._watch)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As an ASGI server's."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True  # at once: the server tells those who listen for the end of the connection
        await self._send(message)

    def leave(self) -> None:
        """Watch it no longer: its request has been handled."""
        if self._later is not None:
            self._later.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _watch(self) -> asyncio.Task[None]:
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._wait())
        return self._watching

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not (self._answered or self._stays) and self._task is not None:
            self.has_gone = True
            self._task.cancel()


def cancel_calls(request: str) -> None:
    """Cancel what a request, by Serve's internal id of it, has asked of other deployments."""
    for task in list(context._get_requests_pending_assignment(request).values()):
        task.get_loop().call_soon_threadsafe(task.cancel)
    for result in list(context._get_in_flight_requests(request).values()):
        result.cancel()
