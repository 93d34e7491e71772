"""What a server says of its health, over HTTP/1.1 and by the protocol of gRPC."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest

from flyteray._machine.grpc_health import ask_grpc_health
from flyteray._machine.health import Health, ask_health, ask_port

HOST = "127.0.0.1"


@contextmanager
def grpc_server(answer: bytes | grpc.StatusCode | None) -> Iterator[int]:
    """A server that answers any question about its health so, or knows no such question."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if answer is None or details.method != "/grpc.health.v1.Health/Check":
                return None
            return grpc.unary_unary_rpc_method_handler(self._check)

        def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
            assert request == b""
            if isinstance(answer, grpc.StatusCode):
                context.abort(answer, "so it is")
            assert isinstance(answer, bytes)
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(Handler(),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("answer", "is_good", "seen"),
    [
        (b"\x08\x01", True, "says that it is SERVING"),
        (b"\x08\x02", False, "says that it is NOT_SERVING"),
        (b"\x08\x03", False, "says that it is SERVICE_UNKNOWN"),
        (b"", False, "says that it is UNKNOWN"),
        (b"\x08\x07", False, "says that it is 7"),
        (None, True, "answers /grpc.health.v1.Health/Check with UNIMPLEMENTED"),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            True,
            "answers /grpc.health.v1.Health/Check with UNAUTHENTICATED",
        ),
    ],
)
def test_a_grpc_server_says_how_it_is(
    answer: bytes | grpc.StatusCode | None, is_good: bool, seen: str
) -> None:
    with grpc_server(answer) as port:
        assert ask_grpc_health(HOST, port, 10) == Health(answers=True, is_good=is_good, seen=seen)


@contextmanager
def http_server() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_who_speaks_another_version_of_http_is_told_apart() -> None:
    with http_server() as port:
        told = ask_grpc_health(HOST, port, 10)

    assert not told.is_good
    assert "speaks HTTP/1.1, not HTTP/2 without TLS" in told.seen


def test_who_says_nothing_is_not_well() -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        told = ask_grpc_health(HOST, port, 0.5)
        assert ask_port(HOST, port).is_good

    assert not told.answers
    assert told.seen.startswith("takes connections but ")
    assert ask_grpc_health(HOST, port, 0.5) == ask_port(HOST, port) == Health()


@pytest.mark.parametrize(("status", "is_good"), [(200, True), (404, True), (500, False)])
def test_a_status_of_http_says_how_a_server_is(status: int, is_good: bool) -> None:
    with http_server() as port:
        told = ask_health(HOST, port, f"/{status}", 10)

    assert told == Health(answers=True, is_good=is_good, seen=f"answers GET /{status} with status {status}")
