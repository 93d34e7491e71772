"""Open connections stand for open requests, for servers that can't tell which requests they have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

# The kernel's, with connections that no server has accepted yet.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_LOOK_S = 0.1


async def drain(port: int, deadline_s: float, ended: asyncio.Future[Any]) -> None:
    """Wait until no connection to a port of this node is open, at most until the deadline.

    The ingress closes those that are idle when it learns that a replica stops, and others soon after they have become
    idle: one that is open is a request, a stream or a WebSocket. ``ended`` is done when no server can answer any more.
    Only Linux tells of connections; elsewhere nothing is waited for.
    """
    deadline = time.monotonic() + deadline_s
    while not ended.done() and time.monotonic() < deadline and await asyncio.to_thread(is_used, port):
        await asyncio.wait([ended], timeout=_LOOK_S)


def is_used(port: int) -> bool:
    """Whether a connection to a port of this node is open."""
    for table in _TABLES:
        with contextlib.suppress(OSError):  # no Linux, or no IPv6
            for line in table.read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False
