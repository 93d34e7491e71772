"""A server that says that it is not well is watched."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import pytest

from flyteray._machine.grpc_health import ask_grpc_health
from flyteray._machine.health import Health
from flyteray._serve.health_watch import HealthWatch
from flyteray._serve.servers import ports
from flyteray._serve.servers.function import FunctionServer
from flyteray._serve.servers.hosting import Hosting
from flyteray.errors import RuntimeUserError
from tests.waiting import eventually

WELL = Health(answers=True, is_good=True, seen="says that it is SERVING")
UNWELL = Health(answers=True, seen="says that it is NOT_SERVING")
SILENT = Health(seen="takes connections but has not answered")


@dataclass
class Server:
    """Says ``health``, and counts how often it was asked."""

    health: Health = WELL
    asked: int = 0
    changes: list[bool] = field(default_factory=list)

    def ask(self) -> Health:
        self.asked += 1
        return self.health

    def says(self, health: Health) -> None:
        """Say another thing, and be asked about it twice."""
        self.health = health
        before = self.asked
        eventually(lambda: self.asked > before + 2)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def watch(server: Server) -> Iterator[HealthWatch]:
    watch = HealthWatch(server.ask, server.changes.append, limit_s=0.2, every_s=0.01)
    watch.start()
    yield watch
    watch.stop()


def test_who_is_unwell_is_told_of_once_and_who_is_well_again_as_well(
    server: Server, watch: HealthWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for health in (WELL, UNWELL, UNWELL, SILENT, WELL, SILENT):
            server.says(health)

    assert server.changes == [True, False]
    assert "The app's server says that it is NOT_SERVING." in caplog.text
    watch.check()


def test_who_is_unwell_for_long_fails(server: Server, watch: HealthWatch) -> None:
    def failed() -> str:
        try:
            watch.check()
        except RuntimeUserError as error:
            return str(error)
        return ""

    server.says(UNWELL)

    assert "says that it is NOT_SERVING, for more than 0.2 s" in eventually(failed)


def test_who_is_not_watched_any_more_is_not_asked(server: Server, watch: HealthWatch) -> None:
    watch.stop()
    asked = server.asked

    watch.stop()

    assert server.asked == asked


DECLARED = 50051  # nothing is ever bound to it here
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Checked(grpc.GenericRpcHandler):
    """Answers that it is ``health``, at first that it does not serve, and counts how often it was asked."""

    health = NOT_SERVING
    asked = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def check(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self.asked += 1
            if self.asked == 3:
                self.health = SERVING
            return self.health

        return grpc.unary_unary_rpc_method_handler(check)


def test_a_grpc_server_is_up_once_it_serves_and_fails_where_it_does_not_any_more() -> None:
    checked = Checked()

    async def serve() -> None:
        server = grpc.aio.server(handlers=(checked,))
        server.add_insecure_port(f"[::]:{DECLARED}")
        await server.start()
        await server.wait_for_termination()

    with ports.listening_socket("127.0.0.1") as sock:
        port = int(sock.getsockname()[1])
    ask = functools.partial(ask_grpc_health, timeout_s=5)
    server = FunctionServer(
        serve, {}, declared=DECLARED, host="127.0.0.1", port=port, ask=ask, speaks_grpc=True
    )
    watch = HealthWatch(lambda: ask("127.0.0.1", server.port), None, limit_s=0.2, every_s=0.05)
    hosting = Hosting(server, arguments={}, health=watch, loop=asyncio.new_event_loop())

    async def live() -> str:
        await hosting.start()
        try:
            assert checked.asked >= 3
            assert server.port == port
            hosting.check()
            checked.health = NOT_SERVING
            return await asyncio.to_thread(lambda: eventually(lambda: _failure(hosting), timeout=20))
        finally:
            await hosting.stop(1)

    assert "The app's server says that it is NOT_SERVING" in asyncio.run(live())


def _failure(hosting: Hosting) -> str:
    try:
        hosting.check()
    except RuntimeUserError as error:
        return str(error)
    return ""
