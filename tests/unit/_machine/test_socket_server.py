"""Connections to a server of this machine end when they were served, and with the server."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyteray._machine.socket_server import Serve, SocketServer

PATIENCE_S = 30.0


@contextmanager
def served(directory: Path, serve: Serve) -> Iterator[tuple[SocketServer, socket.socket]]:
    """A server, and a connection to it."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(directory / "it.sock"))
        listener.listen(8)
        server = SocketServer(listener, serve, name="of-a-test", backlog=8)
        client.settimeout(PATIENCE_S)
        client.connect(str(directory / "it.sock"))
        try:
            yield server, client
        finally:
            server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())


async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"here\n")
    await asyncio.Event().wait()


def test_a_connection_that_was_served_is_closed(tmp_path: Path) -> None:
    with served(tmp_path, echo) as (_, client):
        client.sendall(b"a\n")
        assert client.makefile("rb").read() == b"a\n"


def test_what_is_open_ends_with_the_server(tmp_path: Path) -> None:
    with served(tmp_path, hold) as (server, client):
        assert client.recv(5) == b"here\n"
        gc.disable()  # which would close a connection that was forgotten, some time
        try:
            server.close()
            assert client.recv(1) == b""
        finally:
            gc.enable()


def test_a_connection_that_nobody_has_taken_ends_with_the_server(tmp_path: Path) -> None:
    with served(tmp_path, hold) as (server, client):
        server.close()
        with pytest.raises(OSError, match="refused"), socket.socket(socket.AF_UNIX) as other:
            other.connect(str(tmp_path / "it.sock"))
        rest = b""
        try:
            while data := client.recv(100):
                rest += data
        except ConnectionResetError:
            pass
        assert rest in (b"", b"here\n")


def test_closing_again_is_fine(tmp_path: Path) -> None:
    with served(tmp_path, hold) as (server, _):
        server.close()
        server.close()
