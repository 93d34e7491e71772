"""Ports that are chosen now for a server that listens later."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest

from flyteray._machine import ports


@pytest.fixture
def ephemeral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the system tells which ports it gives to whoever asks for any."""
    file = tmp_path / "range"
    monkeypatch.setattr(ports, "_EPHEMERAL", file)
    return file


@pytest.mark.parametrize(
    ("told", "lasting"),
    [
        (None, range(20_000, 30_000)),
        ("32768\t60999\n", range(20_000, 30_000)),
        ("25000 60999", range(20_000, 25_000)),
        ("1024 21999", range(22_000, 30_000)),
        ("22000 23999", range(24_000, 30_000)),
        ("1024 65535", range(0)),
    ],
)
def test_ports_that_last_are_those_the_system_gives_to_nobody(
    ephemeral: Path, told: str | None, lasting: range
) -> None:
    if told is not None:
        ephemeral.write_text(told)

    assert ports.lasting_ports() == lasting


@pytest.mark.parametrize("told", ["32768 60999", "1024 65535"])
def test_a_free_port_is_one_to_listen_on(ephemeral: Path, told: str) -> None:
    ephemeral.write_text(told)

    with socket.create_server(("127.0.0.1", ports.free_port("127.0.0.1"))):
        pass


def test_a_server_may_listen_while_its_port_is_held() -> None:
    with ports.free_socket("127.0.0.1") as held, socket.create_server(held.getsockname()):
        pass


def test_a_port_that_somebody_has_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound, socket.create_server(("127.0.0.1", 0)) as listening:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))  # for a server that is about to listen there
        taken = [each.getsockname()[1] for each in (bound, listening)]
        for port in taken:
            monkeypatch.setattr(ports, "lasting_ports", lambda port=port: range(port, port + 1))

            assert ports.free_port("127.0.0.1") not in taken


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        ports.free_port("203.0.113.1")


def test_who_listens_on_a_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.holder(port) == f"process {os.getpid()} ({psutil.Process().name()})"

    assert ports.holder(port) is None
