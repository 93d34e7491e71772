"""A gRPC service whose messages are bytes, for any server, and its client."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
_LARGE = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]


class Talk(grpc.GenericRpcHandler):
    """Answers calls of ``/test.Talk``.

    Attributes:
        health: What is said of its health; None: nothing is known of such a question.
        seen: The metadata of each call, by method.
        left: How many calls of ``Wait`` were cancelled, or had no time left.
        remaining_s: The seconds that the last call of ``Wait`` had.
    """

    def __init__(self, name: str = "", health: bytes | None = None) -> None:
        self.name = name
        self.health = health
        self.seen: dict[str, list[dict[str, str]]] = {}
        self.left = 0
        self.remaining_s: float | None = None

    def service(self, details: Any) -> Any:
        if details.method == "/grpc.health.v1.Health/Check" and self.health is not None:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self.health)
        method = details.method.removeprefix("/test.Talk/")
        self.seen.setdefault(method, []).append(dict(details.invocation_metadata))
        kinds: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "Echo": (grpc.unary_unary_rpc_method_handler, self._echo),
            "Name": (grpc.unary_unary_rpc_method_handler, lambda request, context: self.name.encode()),
            "Fail": (grpc.unary_unary_rpc_method_handler, self._fail),
            "Die": (grpc.unary_unary_rpc_method_handler, self._die),
            "Turn": (grpc.unary_unary_rpc_method_handler, self._turn),
            "Wait": (grpc.unary_unary_rpc_method_handler, self._wait),
            "Count": (grpc.unary_stream_rpc_method_handler, self._count),
            "Join": (grpc.stream_unary_rpc_method_handler, self._join),
            "Chat": (grpc.stream_stream_rpc_method_handler, self._chat),
        }
        if method not in kinds:
            return None
        kind, function = kinds[method]
        return kind(function)

    def _echo(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"), ("some-bin", b"\x00\xff")))
        return request

    def _fail(self, request: bytes, context: Any) -> bytes:
        context.abort_with_status(_Failed())
        return b""

    def _die(self, request: bytes, context: Any) -> bytes:
        os._exit(3)

    def _turn(self, request: bytes, context: Any) -> bytes:
        """Say another thing of its health from now on."""
        self.health = request
        return self.name.encode()

    def _wait(self, request: bytes, context: Any) -> bytes:
        self.remaining_s = context.time_remaining()
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait()
        self.left += 1
        return b""

    def _count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    def _join(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"".join(requests)

    def _chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield self.name.encode() + request


class _Failed(grpc.Status):
    code = grpc.StatusCode.NOT_FOUND
    details = "no such thing: 100 % \u00fc"
    trailing_metadata = (("why", "none"),)


def serve(talk: Talk, address: str) -> tuple[grpc.Server, int]:
    """A server that listens there, and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=(talk,), options=_LARGE)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def channel(target: str, app: str | None = None, **options: Any) -> grpc.Channel:
    """A channel to an address, to an app by its authority, or by the name of the address."""
    more = [("grpc.default_authority", f"{app}.localhost")] if app else []
    own = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    return grpc.insecure_channel(target, options=[*_LARGE, *own, *more, *options.items()])


class Client:
    """Calls of ``/test.Talk`` in a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.echo = channel.unary_unary("/test.Talk/Echo")
        self.name = channel.unary_unary("/test.Talk/Name")
        self.fail = channel.unary_unary("/test.Talk/Fail")
        self.die = channel.unary_unary("/test.Talk/Die")
        self.turn = channel.unary_unary("/test.Talk/Turn")
        self.wait = channel.unary_unary("/test.Talk/Wait")
        self.count = channel.unary_stream("/test.Talk/Count")
        self.join = channel.stream_unary("/test.Talk/Join")
        self.chat = channel.stream_stream("/test.Talk/Chat")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()


class Chat:
    """A stream in both directions: :meth:`say` something, and get what comes back."""

    def __init__(self, client: Client, **options: Any) -> None:
        self._said: queue.Queue[bytes | None] = queue.Queue()
        self.call = client.chat(iter(self._said.get, None), **options)

    def say(self, message: bytes) -> bytes:
        """The answer to a message."""
        self._said.put(message)
        answer: bytes = next(self.call)
        return answer

    def end(self) -> list[bytes]:
        """Say nothing more; what still comes back."""
        self._said.put(None)
        return list(self.call)


def failure(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """The status and the words of a call that fails."""
    try:
        got = call()
    except grpc.RpcError as error:
        told: Any = error
        return told.code(), told.details()
    raise AssertionError(f"It did not fail: {got!r}")
