"""Servers that name their own port are moved to the replica's."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest
import uvloop

from flyteray._machine.health import ask_port
from flyteray._serve.servers import ports

DECLARED = 8080  # nothing is ever bound to it here


@pytest.fixture
def assigned() -> int:
    with ports.listening_socket("127.0.0.1") as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_plain_socket_is_moved(assigned: int, host: str) -> None:
    with ports.move_port(DECLARED, "127.0.0.1", assigned), socket.create_server((host, DECLARED)) as server:
        assert server.getsockname() == ("127.0.0.1", assigned)
        assert ask_port("127.0.0.1", assigned).is_good


def test_a_dual_stack_socket_takes_ipv4_there(assigned: int) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with (
        ports.move_port(DECLARED, "127.0.0.1", assigned),
        socket.create_server(("::", DECLARED), family=socket.AF_INET6, dualstack_ipv6=True),
    ):
        assert ask_port("127.0.0.1", assigned).is_good


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("host", [None, "0.0.0.0", "::", "127.0.0.1"])
def test_event_loop_servers_are_moved(
    assigned: int, host: str | None, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def serve() -> list[tuple[str, int]]:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host=host, port=DECLARED)
        async with server:
            return [sock.getsockname()[:2] for sock in server.sockets]

    loop = new_loop()
    try:
        with ports.move_port(DECLARED, "127.0.0.1", assigned):
            assert loop.run_until_complete(serve()) == [("127.0.0.1", assigned)]
    finally:
        loop.close()


def test_the_assigned_port_is_never_opened_to_the_network(assigned: int) -> None:
    with (
        ports.move_port(DECLARED, "127.0.0.1", assigned),
        socket.create_server(("0.0.0.0", assigned)) as server,
    ):
        assert server.getsockname() == ("127.0.0.1", assigned)


def test_other_ports_are_left_alone(assigned: int) -> None:
    with ports.move_port(DECLARED, "127.0.0.1", assigned), socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] not in (DECLARED, assigned)


def test_afterwards_nothing_is_moved(assigned: int) -> None:
    before = socket.socket.bind
    with ports.move_port(DECLARED, "127.0.0.1", assigned):
        pass
    assert socket.socket.bind is before
    assert "create_server" not in uvloop.Loop.__dict__


def test_a_claimed_port_is_given_to_nobody_else_until_the_claim_ends() -> None:
    first, claim = ports.claimed_socket("127.0.0.1")
    port = first.getsockname()[1]
    first.close()

    with pytest.raises(OSError, match="in use"), socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0flyteray-port-{port}")
    assert claim is not None
    claim.close()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0flyteray-port-{port}")


def test_a_node_without_such_claims_gives_a_port_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = socket.socket.bind

    def refuse(self: socket.socket, address: object) -> None:
        if self.family == socket.AF_UNIX:
            raise PermissionError(errno.EPERM, "not here")
        bind(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "bind", refuse)

    sock, claim = ports.claimed_socket("127.0.0.1")

    assert claim is None
    assert sock.getsockname()[1] > 0
    sock.close()
