"""HTTP/2 as a library sends it, stream by stream: for what no HTTP client does."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset


class Http2:
    """A connection. What came for a stream is kept until it is asked for.

    Attributes:
        state: The library's own.
        raw: The socket.
        ended: The code with which the server has ended the connection; None while it has not.
        resets: The codes with which it has reset streams.
    """

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.state = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.ended: int | None = None
        self.resets: dict[int, int] = {}
        self._headers: dict[int, dict[str, str]] = {}
        self._data: dict[int, bytes] = defaultdict(bytes)
        self._done: set[int] = set()
        self.state.initiate_connection()
        self.flush()

    def open(self, headers: Iterable[tuple[str, str]], *, end: bool = False) -> int:
        """Begin a stream with these headers; its number."""
        stream: int = self.state.get_next_available_stream_id()
        self.state.send_headers(stream, list(headers), end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.state.send_data(stream, data, end_stream=end)
        self.flush()

    def headers(self, stream: int) -> dict[str, str]:
        """The headers of the answer, once they are there."""
        while stream not in self._headers:
            self._receive()
        return self._headers[stream]

    def data(self, stream: int, count: int) -> bytes:
        """So many bytes of the answer, once they are there."""
        while len(self._data[stream]) < count:
            self._receive()
        found, self._data[stream] = self._data[stream][:count], self._data[stream][count:]
        return found

    def whole(self, stream: int) -> bytes:
        """The rest of the answer, once it has ended."""
        while stream not in self._done:
            self._receive()
        return self._data.pop(stream, b"")

    def flush(self) -> None:
        """Send what the library has to say."""
        self.raw.sendall(self.state.data_to_send())

    def _receive(self) -> None:
        received = self.raw.recv(1 << 16)
        if not received:
            raise ConnectionResetError("the server has closed the connection")
        for event in self.state.receive_data(received):
            self._take(event)
        self.flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self._headers[event.stream_id] = dict(event.headers)
        elif isinstance(event, DataReceived):
            self._data[event.stream_id] += event.data
            self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._done.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
            self._done.add(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self.ended = int(event.error_code)


@contextlib.contextmanager
def http2(port: int, context: ssl.SSLContext | None = None, timeout_s: float = 20) -> Iterator[Http2]:
    """A connection to this machine: by TLS with a context, otherwise with prior knowledge."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=timeout_s))
        if context is not None:
            context.set_alpn_protocols(["h2"])
            raw = stack.enter_context(context.wrap_socket(raw, server_hostname="localhost"))
        yield Http2(raw)
