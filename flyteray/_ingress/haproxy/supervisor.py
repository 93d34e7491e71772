"""The supervisor keeps HAProxy running in a directory, as a process of its own that ends with the cluster.

Started as a script, not as a module, so that it loads nothing but the standard library::

    supervisor.py DIRECTORY BINARY HOST PORT WATCHED_PID PEERS_HOST PEERS_PORT TLS_PORT

The foreground process returns when HAProxy serves (exit code ``READY``) or can't (a message on stderr and one of
the other codes); a background process stays. It holds

* the lock on ``supervisor.lock``, so that there is one for a directory; its content says who it is,
* the pipe ``seen``, in which HAProxy leaves a line of each request: it lasts as long as the supervisor, so that nothing
  of a process of HAProxy's is lost that has ended,
* the listening sockets, which HAProxy inherits, so that connections wait in the kernel while HAProxy restarts: one on
  PORT, one for clients that come by TLS on TLS_PORT, and one on PEERS_PORT of PEERS_HOST, 0 for a free one, for
  what the ingresses of other nodes send; a TLS_PORT and a PEERS_HOST of "" stand for neither of the last two,
* HAProxy's life: HAProxy is restarted when it dies, and dies with the supervisor. The supervisor ends on SIGTERM
  and when the process WATCHED_PID is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

READY, REFUSED, PORT_TAKEN, ALREADY_RUNNING, NOTHING_TO_WATCH = 0, 1, 3, 4, 5

CONFIG_FILE = "haproxy.cfg"
LOCK_FILE = "supervisor.lock"
LOG_FILE = "haproxy.log"
ADMIN_SOCKET = "admin.sock"
MASTER_SOCKET = "master.sock"
LISTENER = "FLYTERAY_INGRESS_FD"  # tells HAProxy's configuration the number of the listening socket
TLS_LISTENER = "FLYTERAY_TLS_FD"
TLS_AT = "FLYTERAY_TLS_AT"  # what follows the host in a URL that leads there
PEERS_LISTENER = "FLYTERAY_PEERS_FD"
SEEN_PIPE = "seen"
SEEN = "FLYTERAY_SEEN_FD"  # the number of the pipe

Listeners = dict[str, socket.socket]  # by the variable that tells of them

_HOST = "FLYTERAY_HOST, or flyteray up --host, where 0.0.0.0 stands for all of them"
_LOG_LIMIT = 4 << 20
_PIPE_SIZE = 1 << 20  # as much as anybody may have
_F_SETPIPE_SZ = 1031
_START_TIMEOUT_S = 10.0
_TICK_S = 0.2
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Start supervising in the background; return when HAProxy serves or can't."""
    directory, binary, host, port, watched, peers_host, peers_port, tls_port = argv
    os.chdir(directory)
    lock = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _fail(ALREADY_RUNNING, f"An ingress runs in {directory} already.")
    os.ftruncate(lock, 0)
    try:
        is_gone = _watch(int(watched))
        if is_gone():
            raise ProcessLookupError(watched)
    except ProcessLookupError:
        return _fail(NOTHING_TO_WATCH, f"The process {watched} that the ingress belongs to is gone.")
    listeners: Listeners = {}
    for name, at, number, port_setting, address_setting in (
        (LISTENER, host, port, "FLYTERAY_PORT, or flyteray up --port", _HOST),
        (TLS_LISTENER, host, tls_port, "FLYTERAY_TLS_PORT, or flyteray up --tls-port", _HOST),
        # Of a port that nobody asked for who starts this takes another one.
        (PEERS_LISTENER, peers_host, peers_port if peers_host else "", "", "ray start --node-ip-address"),
    ):
        if not number:
            continue
        try:
            listeners[name] = _listen(at, int(number))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            what = "is taken by another process" if taken else f"can't be listened on ({error.strerror})"
            advice = f"Choose another one, or 0 for any that is free: {port_setting}."
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                advice = f"Choose an address of this machine: {address_setting}."
            return _fail(PORT_TAKEN if taken else REFUSED, f"Port {number} of {at} {what}. {advice}")

    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    answer, reply = os.pipe()
    if os.fork():
        os.close(reply)
        with os.fdopen(answer, "rb") as pipe:
            message = pipe.read().decode(errors="replace")
        return READY if message == "ready" else _fail(REFUSED, message or "The ingress's supervisor died.")
    os.close(answer)
    os.setsid()  # not in the process group of a Ray worker, which dies as a whole
    _supervise(binary, listeners, is_gone, lock, int(watched), reply)
    return READY


def _fail(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code


def _watch(pid: int) -> Callable[[], bool]:
    """Whether a process is gone, told without being fooled by a new process of the same number."""
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # before Linux 5.3
            raise ProcessLookupError(pid) from error
        os.kill(pid, 0)
        return lambda: not os.path.exists(f"/proc/{pid}")
    return lambda: bool(select.select([handle], [], [], 0)[0])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + 1.0
    while True:
        try:
            listener.bind((host, port))
            listener.listen(4096)
            return listener
        except OSError as error:
            # A predecessor that was killed may take a moment to let go of its port.
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _supervise(
    binary: str, listeners: Listeners, is_gone: Callable[[], bool], lock: int, watched: int, reply: int
) -> None:
    log = os.open(LOG_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    start_of_log = os.fstat(log).st_size
    seen = _pipe()
    proxy = _start(binary, listeners, seen, log)
    if not _is_ready(proxy):
        _end(proxy)
        said = os.pread(log, 1 << 16, start_of_log).decode(errors="replace").strip()
        os.write(reply, f"HAProxy did not start with {os.path.abspath(CONFIG_FILE)}:\n{said}".encode())
        return
    host = listeners[LISTENER].getsockname()[0]
    about = {"pid": os.getpid(), "host": host, "watched": watched, "sees": True}
    for key, name in (("port", LISTENER), ("tls_port", TLS_LISTENER), ("peers_port", PEERS_LISTENER)):
        about[key] = listeners[name].getsockname()[1] if name in listeners else 0
    os.pwrite(lock, json.dumps(about).encode(), 0)
    os.write(reply, b"ready")
    os.close(reply)
    _let_go_of_terminal(log)

    pause_s = 0.0
    while not is_gone():
        born = time.monotonic()
        while proxy.poll() is None:
            received = signal.sigtimedwait(_SIGNALS, _TICK_S)
            if (received is not None and received.si_signo != signal.SIGCHLD) or is_gone():
                _end(proxy)
                return
            _trim(log)
        _end(proxy)  # its worker shares the listening socket: it must not accept any more
        lived_long = time.monotonic() - born > 1.0
        pause_s = 0.0 if lived_long else min(1.0, 2 * pause_s + 0.02)
        if pause_s:
            time.sleep(pause_s)
        proxy = _start(binary, listeners, seen, log)
    _end(proxy)


def _pipe() -> int:
    """The pipe for lines of requests, made anew and open at both ends: HAProxy waits for nobody who reads."""
    if os.path.exists(SEEN_PIPE):
        os.unlink(SEEN_PIPE)
    os.mkfifo(SEEN_PIPE, 0o600)
    pipe = os.open(SEEN_PIPE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # this user has many; a smaller one does as well
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_SIZE)
    return pipe


def _start(binary: str, listeners: Listeners, seen: int, log: int) -> subprocess.Popen[bytes]:
    """HAProxy as master and worker, in a process group of its own that dies with this process."""
    parent = os.getpid()
    # Loaded before the fork: between fork and exec as little as possible.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    numbers = {name: each.fileno() for name, each in listeners.items()} | {SEEN: seen}
    told = {name: str(number) for name, number in numbers.items()}
    if by_tls := listeners.get(TLS_LISTENER):
        port = by_tls.getsockname()[1]
        told[TLS_AT] = "" if port == 443 else f":{port}"
    for path in (ADMIN_SOCKET, MASTER_SOCKET):  # so that nobody asks a predecessor
        if os.path.exists(path):
            os.unlink(path)
    return subprocess.Popen(
        [binary, "-W", "-db", "-S", f"unix@{MASTER_SOCKET},mode,600", "-f", CONFIG_FILE],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=told,
        pass_fds=list(numbers.values()),
        preexec_fn=tie,
    )


def _is_ready(proxy: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while proxy.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(1.0)
            try:
                admin.connect(ADMIN_SOCKET)
                admin.sendall(b"show info\n")
                if admin.recv(1):
                    return True
            except OSError:
                time.sleep(0.005)
    return False


def _end(proxy: subprocess.Popen[bytes]) -> None:
    """No process of HAProxy's is left afterwards."""
    if proxy.poll() is None:
        proxy.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            proxy.wait(timeout=2.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(proxy.pid, signal.SIGKILL)
    proxy.wait()


def _let_go_of_terminal(log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)


def _trim(log: int) -> None:
    if os.fstat(log).st_size > _LOG_LIMIT:
        os.ftruncate(log, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
