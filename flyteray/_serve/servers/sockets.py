"""Sockets of a server are observed from outside: where its processes listen, and which connections are open."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_EVERYWHERE = {"0.0.0.0", "::"}
# The kernel's, with connections that no server has accepted yet.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_LOOK_S = 0.1


@dataclass(frozen=True, order=True)
class Address:
    """A TCP address with a listener."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def takes(self, host: str) -> bool:
        """Whether connections to ``host`` arrive here."""
        return self.host in _EVERYWHERE or self.host.removeprefix("::ffff:") == host


def find_port(found: set[Address], host: str, ports: tuple[int, ...]) -> int | None:
    """Find the first of ``ports`` on which connections to ``host`` arrive at one of the addresses."""
    return next((port for port in ports for each in found if each.port == port and each.takes(host)), None)


def describe_strays(found: set[Address], wanted: Address, port: int) -> str | None:
    """Say, in sentences, how a server reached on ``port`` does not listen as wanted; None where it does."""
    there = {each for each in found if each.port == port and each.takes(wanted.host)}
    exposed = wanted.host not in _EVERYWHERE and any(each.host in _EVERYWHERE for each in there)
    if not exposed and port == wanted.port:
        return None
    told = [f"listens on {join_addresses(there)} instead of {wanted}."]
    if exposed:
        told.append("Whoever reaches this machine gets to it past the ingress.")
    if port != wanted.port:
        told.append("No second replica fits on this node.")
    return " ".join(told)


def join_addresses(found: set[Address]) -> str:
    return ", ".join(map(str, sorted(found)))


def find_addresses(pid: int) -> set[Address]:
    """Find where a process and its descendants listen at the moment."""
    found: set[Address] = set()
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found |= {
                    Address(each.laddr.ip, each.laddr.port)
                    for each in process.net_connections("tcp")
                    if each.status == psutil.CONN_LISTEN
                }
    return found


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
