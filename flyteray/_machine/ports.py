"""A port is found that nobody has, for a server to listen on later; of one that is taken, who has it."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from pathlib import Path

import psutil

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_CANDIDATES = range(20_000, 30_000)  # above those of Ray's workers, below the node ports of Kubernetes
_TRIES = 100


def free_port(host: str) -> int:
    """A port of ``host`` that nobody has, and that nobody is given by chance before a server listens on it.

    The system gives a port out of its own range to whoever connects somewhere or asks for any; one that is chosen out
    of that range may be gone a second later, as may be a server's while it restarts.

    Raises:
        OSError: ``host`` is no address of this machine.
    """
    with free_socket(host) as sock:
        return int(sock.getsockname()[1])


def free_socket(host: str) -> socket.socket:
    """A TCP socket bound to such a port; others that set SO_REUSEADDR may bind it as well while nobody listens."""
    lasting = lasting_ports()
    for _ in range(_TRIES if lasting else 0):
        try:
            return _bound(host, secrets.choice(lasting))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _bound(host, 0)


def lasting_ports() -> range:
    """Those that the system gives to nobody who asks for any; empty where it may give all."""
    first, last = 32_768, 60_999
    with contextlib.suppress(OSError, ValueError):  # not on every system
        first, last = map(int, _EPHEMERAL.read_text().split())
    below = range(_CANDIDATES.start, min(_CANDIDATES.stop, first))
    above = range(max(_CANDIDATES.start, last + 1), _CANDIDATES.stop)
    return max(below, above, key=len)


def holder(port: int) -> str | None:
    """Who listens on a port of this machine, in words; None where that can't be seen: somebody else's process."""
    with contextlib.suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid is not None:
                return f"process {each.pid} ({psutil.Process(each.pid).name()})"
    return None


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((host, port))
        # Not before: a port that somebody is about to listen on is not free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        sock.close()
        raise
    return sock
