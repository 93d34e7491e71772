"""The health of a gRPC server, asked for by the protocol that gRPC has for it (``grpc.health.v1.Health``).

Its messages are so small that they are read here: a question about the server as a whole is empty, and an answer is a
field of one byte. A server that does not know the protocol is taken as it is.
"""

from __future__ import annotations

import socket
from typing import Any

from flyteray._machine.health import Health

_CHECK = "/grpc.health.v1.Health/Check"
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = "SERVING"
_OF_HTTP1 = ("http1.x", "Failed parsing HTTP/2")  # what gRPC says of an answer in HTTP/1.1
_STATUS_FIELD = 0x08  # field 1, a number
# A channel of its own for each question, past any proxy: what the last one came to says nothing about the next.
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def ask_grpc_health(host: str, port: int, timeout_s: float) -> Health:
    """Send one ``Check`` over HTTP/2 without TLS and wait for its answer, for ``timeout_s`` seconds.

    Any answer but one that is not ``SERVING`` says that the server takes requests.
    """
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError:
        return Health()  # known at once, and without gRPC
    import grpc  # takes 0.1 s, which no other app needs to pay

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        try:
            status = _status(channel.unary_unary(_CHECK)(b"", timeout=timeout_s))
        except grpc.RpcError as error:
            return _of_error(error, timeout_s)
    return Health(answers=True, is_good=status == _SERVING, seen=f"says that it is {status}")


def _of_error(error: Any, timeout_s: float) -> Health:
    code, details = error.code().name, error.details()
    if any(words in details for words in _OF_HTTP1):
        return Health(
            seen='speaks HTTP/1.1, not HTTP/2 without TLS, as its Port(name="h2c") says', speaks_http=False
        )
    if code == "DEADLINE_EXCEEDED":
        return Health(seen=f"takes connections but has not answered {_CHECK} within {timeout_s:g} s")
    if code == "UNAVAILABLE":
        return Health(seen=f"takes connections but does not answer in HTTP/2: {details}")
    return Health(answers=True, is_good=True, seen=f"answers {_CHECK} with {code}")


def _status(answer: bytes) -> str:
    """The word of an answer; one without the field is of the first."""
    number = answer[1] if answer[:1] == bytes([_STATUS_FIELD]) and len(answer) > 1 else 0
    return _STATUSES.get(number, str(number))
