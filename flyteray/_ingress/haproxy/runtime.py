"""HAProxy is asked and told at runtime, in a conversation on its admin socket."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flyteray._ingress.changes import observed
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.supervisor import ADMIN_SOCKET
from flyteray._ingress.routes import IngressState

_PROMPT = b"\n> "
_DONE = ("", "Key not found.")  # nothing to say; nothing to delete
_MOVED = ("port changed", "no need to change the port")


class CommandRefusedError(Exception):
    """HAProxy did not do what it was told; the message has the command and its answer."""


class Conversation:
    """One connection in a block, so one HAProxy process: it fails when that ends, and never reaches the next.

    Args:
        directory: Where HAProxy runs.
        timeout_s: The longest wait for an answer.

    Raises:
        OSError: nobody listens, or the connection broke.
    """

    def __init__(self, directory: Path, timeout_s: float = 5.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            with socket_path(directory, ADMIN_SOCKET) as path:
                self._socket.connect(path)
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
        while not answer.endswith(_PROMPT):
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionResetError("HAProxy closed its admin socket")
            answer += received
        return answer[: -len(_PROMPT)].decode().strip()

    def tell(self, commands: Iterable[str]) -> None:
        """Give commands that change something.

        Raises:
            CommandRefusedError: HAProxy refused one; those before it are done.
        """
        for command in commands:
            answer = self.ask(command)
            if answer not in _DONE and not any(words in answer for words in _MOVED):
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

    def sessions(self, backends: Sequence[int]) -> dict[int, int]:
        """How many requests and open connections each backend has, those of WebSockets included."""
        return {backend: self._row(backend)["scur"] for backend in backends}

    def traffic(self, backends: Sequence[int]) -> dict[int, tuple[int, int]]:
        """How many requests and connections each backend has open or waiting, and has had since HAProxy started."""
        rows = {backend: self._row(backend) for backend in backends}
        return {backend: (row["scur"] + row["qcur"], row["stot"]) for backend, row in rows.items()}

    def _row(self, backend: int) -> dict[str, int]:
        # Only the backend's own row: all rows of the pool would keep a thread of HAProxy busy for 0.2 s.
        header, row = self.ask(f"show stat {maps.backend_name(backend)} 2 -1").splitlines()[:2]
        columns = header.removeprefix("# ").split(",")
        values = dict(zip(columns, row.split(","), strict=False))
        return {name: int(values[name]) for name in ("scur", "qcur", "stot")}


@contextlib.contextmanager
def socket_path(directory: Path, name: str) -> Iterator[str]:
    """A path to a socket by way of /proc, because it may be no longer than 107 characters; valid inside the block."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
