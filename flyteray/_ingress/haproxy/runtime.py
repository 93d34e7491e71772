"""HAProxy is asked and told at runtime, in a conversation on its admin socket."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flyteray._ingress.changes import observed
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.supervisor import ADMIN_SOCKET, MASTER_SOCKET
from flyteray._ingress.routes import IngressState

_MASTERS_PROMPT = b"master> "
_UNREACHED = b"Can't connect to the target CLI!"
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

    def pid(self) -> int:
        """The process that answers."""
        info = dict(line.partition(": ")[::2] for line in self.ask("show info").splitlines())
        return int(info["Pid"])

    def state(self) -> IngressState:
        """What HAProxy does at the moment; takes tens of milliseconds."""
        return observed(
            {file: self.ask(f"show map {file}") for file in maps.FILES}, self.ask("show servers state")
        )

    def backends(self) -> int:
        """How many backends there are."""
        names = self.ask("show backend").split()
        return sum(maps.is_backend(name) for name in names)

    def traffic(self, backends: Sequence[int]) -> dict[int, tuple[int, int]]:
        """How many requests and connections each backend has open or waiting, and has had since HAProxy started."""
        return {backend: self._here(backend) for backend in backends}

    def _here(self, backend: int) -> tuple[int, int]:
        """Those of a backend but for the ones that another node's ingress has, which counts them itself."""
        # Only this backend: all rows of the pool would keep a thread of HAProxy busy for 0.2 s.
        header, *rows = self.ask(f"show stat {maps.backend_name(backend)} 6 -1").splitlines()
        columns = header.removeprefix("# ").split(",")
        now = ever = 0
        for line in rows:
            row = dict(zip(columns, line.split(","), strict=False))
            if row.get("svname") == "BACKEND":
                now += int(row["scur"]) + int(row["qcur"])
                ever += int(row["stot"])
            elif row.get("svname", "").startswith("p"):
                now -= int(row["scur"])
                ever -= int(row["stot"])
        return max(0, now), max(0, ever)


@contextlib.contextmanager
def socket_path(directory: Path, name: str) -> Iterator[str]:
    """A path to a socket by way of /proc, because it may be no longer than 107 characters; valid inside the block."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
