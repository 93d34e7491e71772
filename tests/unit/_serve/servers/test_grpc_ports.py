"""gRPC servers that name their own port are moved to the replica's."""

from __future__ import annotations

import asyncio
from concurrent import futures

import grpc
import pytest

from flyteray._machine.health import ask_port
from flyteray._serve.servers import ports
from flyteray._serve.servers.grpc_ports import move_grpc_port

DECLARED = 50051  # nothing is ever bound to it here


@pytest.fixture
def assigned() -> int:
    with ports.listening_socket("127.0.0.1") as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("address", ["[::]:50051", "0.0.0.0:50051", "localhost:50051"])
def test_a_server_is_moved(assigned: int, address: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    with move_grpc_port(DECLARED, "127.0.0.1", assigned):
        assert server.add_insecure_port(address) == assigned
    server.start()

    assert ask_port("127.0.0.1", assigned).is_good
    server.stop(None).wait()


def test_a_server_on_a_loop_is_moved(assigned: int) -> None:
    async def serve() -> int:
        server = grpc.aio.server()
        with move_grpc_port(DECLARED, "127.0.0.1", assigned):
            port = server.add_insecure_port(f"[::]:{DECLARED}")
        await server.start()
        await server.stop(None)
        return port

    assert asyncio.run(serve()) == assigned


def test_other_ports_are_left_alone(assigned: int) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    with move_grpc_port(DECLARED, "127.0.0.1", assigned):
        assert server.add_insecure_port("127.0.0.1:0") not in (0, DECLARED, assigned)
    assert grpc.server(futures.ThreadPoolExecutor(1)).add_insecure_port("127.0.0.1:0") != assigned
    server.stop(None)
