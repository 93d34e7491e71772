"""HAProxy is asked and told at runtime, in a conversation on its admin socket."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from flyteray._ingress.changes import observed
from flyteray._ingress.entry.pace import GRACE_S
from flyteray._ingress.haproxy import entry, maps, sessions
from flyteray._ingress.haproxy.supervisor import ADMIN_SOCKET, MASTER_SOCKET
from flyteray._ingress.routes import IngressState, Slot
from flyteray._plan.traffic.load import Open

_MASTERS_PROMPT = b"master> "
_UNREACHED = b"Can't connect to the target CLI!"
_OPEN_FOR_KEYS = f"show table {entry.OPEN} data.conn_cur gt 0"
_DONE = ("", "Key not found.")  # nothing to say; nothing to delete
_SAID = ("port changed", "no need to change the port", "New server registered", "Already exists a server")


class CommandRefusedError(Exception):
    """HAProxy did not do what it was told; the message has the command and its answer."""


class Conversation:
    """One connection in a block, so one HAProxy process: it fails when that ends, and never reaches the next.

    Args:
        directory: Where HAProxy runs.
        timeout_s: The longest wait for an answer.
        old: The process that is meant, where it is one that a reload has left behind.

    Raises:
        OSError: nobody listens, the connection broke, or the old process has ended.
    """

    def __init__(self, directory: Path, timeout_s: float = 5.0, old: int | None = None) -> None:
        self._prompt = b"\n> "
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            with socket_path(directory, MASTER_SOCKET if old else ADMIN_SOCKET) as path:
                self._socket.connect(path)
            if old is not None:  # the master passes on what it is asked
                self._prompt = _MASTERS_PROMPT
                self.ask("prompt")
                self._prompt = f"{old}> ".encode()
                self.ask(f"@!{old}")
            else:
                self.ask("prompt")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, command: str) -> str:
        """The answer to a command."""
        self._socket.sendall(command.encode() + b"\n")
        answer = bytearray()
        while not answer.endswith(self._prompt):
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionResetError("HAProxy closed its admin socket")
            answer += received
            if self._prompt != _MASTERS_PROMPT and answer.endswith(_MASTERS_PROMPT):
                raise ConnectionResetError(f"HAProxy's master says: {answer.decode(errors='replace')}")
        if answer.startswith(_UNREACHED):
            raise ConnectionResetError("The process of HAProxy has ended")
        return answer[: -len(self._prompt)].decode().strip()

    def tell(self, commands: Iterable[str]) -> None:
        """Give commands that change something.

        Raises:
            CommandRefusedError: HAProxy refused one; those before it are done.
        """
        for command in commands:
            answer = self.ask(command)
            if answer not in _DONE and not any(words in answer for words in _SAID):
                raise CommandRefusedError(f"{command!r}: {answer}")

    def put(self, kind: str, file: str, content: str) -> None:
        """Have it go by another content of a file: of kind ``cert``, or ``ca-file``. What is open goes on.

        Raises:
            CommandRefusedError: it can't read that; the earlier one stays.
        """
        lines = "\n".join(line for line in content.splitlines() if line)  # an empty one ends it
        for command in (f"set ssl {kind} {file} <<\n{lines}\n", f"commit ssl {kind} {file}"):
            answer = self.ask(command)
            if "ransaction" not in answer and "Success!" not in answer:
                raise CommandRefusedError(f"{command.partition(chr(10))[0]!r}: {answer}")

    def pid(self) -> int:
        """The process that answers."""
        return int(self._info("Pid"))

    def _info(self, name: str) -> str:
        return dict(line.partition(": ")[::2] for line in self.ask("show info").splitlines())[name]

    def state(self) -> IngressState:
        """What HAProxy does at the moment; takes tens of milliseconds."""
        return observed(
            {file: self.ask(f"show map {file}") for file in maps.FILES}, self.ask("show servers state")
        )

    def end_requests(self, is_good: Callable[[str], bool]) -> None:
        """End the requests and connections that stay open for long with a key whose digest is not good."""
        tracked = (re.search(r"key=(\w+)/(\d+)/(\S+)", row) for row in self.ask(_OPEN_FOR_KEYS).splitlines())
        ended = {(each[3], each[2]) for each in tracked if each and not is_good(each[1])}
        clients = {client for client, _ in ended}
        for session in sessions.listed(self.ask("show sess")) if ended else []:
            if session.client in clients:
                number = sessions.number(self.ask(f"show sess {session.at}"))
                if (session.client, number) in ended:
                    self.ask(f"shutdown session {session.at}")

    def end_at(self, ingress: Slot) -> None:
        """End what waits for the ingress of another node, at a worker whose servers can't be told anything any more."""
        for session in sessions.listed(self.ask("show sess")):
            if maps.is_elsewhere(session.server):
                at = sessions.server_at(self.ask(f"show sess {session.at}"))
                if at == f"{ingress.host}:{ingress.port}":
                    self.ask(f"shutdown session {session.at}")

    def awaited(self, grace_s: float = GRACE_S) -> dict[str, int]:
        """The requests of clients whose bodies are waited for, with the bytes that have come, by ``address/number``.

        Those that are younger than ``grace_s`` are left out, and those to replicas that speak HTTP/2: a stream of
        theirs may be silent for long.
        """
        found = {}
        streaming: Collection[str] | None = None
        for session in sessions.listed(self.ask("show sess")):
            if session.frontend == maps.FRONTEND and session.is_awaited and session.age_s >= grace_s:
                if streaming is None:
                    streaming = {line.split()[1] for line in self.ask(f"show map {maps.HTTP2}").splitlines()}
                if session.backend in streaming:
                    continue
                text = self.ask(f"show sess {session.at}")
                found[f"{session.at}/{sessions.number(text)}"] = sessions.received(text)
        return found

    def end(self, requests: Iterable[str]) -> None:
        """End requests that :meth:`awaited` has named, those that are still there."""
        for request in requests:
            at, _, number = request.partition("/")
            if sessions.number(self.ask(f"show sess {at}")) == number:
                self.ask(f"shutdown session {at}")

    def backends(self) -> int:
        """How many backends there are."""
        names = self.ask("show backend").split()
        return sum(maps.is_backend(name) for name in names)

    def traffic(self, backends: Sequence[int]) -> dict[int, tuple[int, int]]:
        """How many requests and connections each backend has open or waiting, and has had since HAProxy started."""
        return {backend: self._here(backend) for backend in backends}

    def _here(self, backend: int) -> tuple[int, int]:
        """Those of a backend but for the ones that another node's ingress has, which counts them itself."""
        now = ever = 0
        for row in self._rows(backend):
            if row["svname"] == "BACKEND":
                now += int(row["scur"])  # with those that are queued
                ever += int(row["stot"])
            elif maps.is_elsewhere(row["svname"]):
                now -= int(row["scur"])
                ever -= int(row["stot"])
        return max(0, now), max(0, ever)

    def open(self, backends: Sequence[int]) -> dict[int, Open]:
        """The requests and connections of each backend that are open now, but for those of other nodes' ingresses."""
        return {backend: self._open(backend) for backend in backends}

    def _open(self, backend: int) -> Open:
        count = dict.fromkeys(("all", "queued", "waiting", "elsewhere"), 0)
        for row in self._rows(backend):
            name, now = row["svname"], int(row["scur"])
            if name == "BACKEND":
                count["all"], count["queued"] = now, int(row["qcur"])
            elif name in maps.ACTIVATORS:
                count["waiting"] += now
            elif maps.is_elsewhere(name):
                count["elsewhere"] += now
        in_flight = count["all"] - count["queued"] - count["waiting"] - count["elsewhere"]
        return Open(max(0, in_flight), count["queued"], count["waiting"])

    def _rows(self, backend: int) -> Iterator[dict[str, str]]:
        # Only this backend: all rows of the pool would keep a thread of HAProxy busy for 0.2 s.
        header, *rows = self.ask(f"show stat {maps.backend_name(backend)} 6 -1").splitlines()
        columns = header.removeprefix("# ").split(",")
        for line in rows:
            row = dict(zip(columns, line.split(","), strict=False))
            if "svname" in row:
                yield row

    def unseen(self) -> int:
        """How many lines of requests were lost since the process was started.

        Nobody had read those before, or another thread of HAProxy was stopped while it wrote one.
        """
        return int(self._info("DroppedLogs"))


@contextlib.contextmanager
def socket_path(directory: Path, name: str) -> Iterator[str]:
    """A path to a socket by way of /proc, because it may be no longer than 107 characters; valid inside the block."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


def listen(directory: Path, name: str, backlog: int) -> socket.socket:
    """A socket of this name that HAProxy reaches and nobody else may; one of before is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    with socket_path(directory, name) as path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(backlog)
    return listener
