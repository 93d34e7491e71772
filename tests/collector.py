"""A collector of OpenTelemetry: an HTTP server that takes in spans as OTLP says them."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.waiting import eventually


@dataclass(frozen=True)
class Seen:
    """A span that has arrived."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    problem: str
    attributes: dict[str, Any]
    exceptions: list[dict[str, Any]]
    resource: dict[str, Any]
    began_ns: int
    ended_ns: int

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass
class Collector:
    """The spans that have arrived at ``url``, and the headers that they came with; it answers with ``status``."""

    url: str
    spans: list[Seen] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def of(self, trace: str) -> list[Seen]:
        return [span for span in self.spans if span.trace == trace]

    def waits_for(
        self, of: Callable[[list[Seen]], list[Seen]], count: int, timeout: float = 60.0
    ) -> list[Seen]:
        """Some of the spans, once there are so many of them."""
        return eventually(lambda: found if len(found := of(list(self.spans))) >= count else [], timeout)

    def waits(self, count: int, *, trace: str = "", timeout: float = 60.0) -> list[Seen]:
        """The spans of a trace, or all, once there are so many."""
        eventually(lambda: len(self.of(trace) if trace else self.spans) >= count, timeout)
        return self.of(trace) if trace else list(self.spans)

    def one(self, matches: Callable[[Seen], bool], timeout: float = 60.0) -> Seen:
        """The first span for which that holds, once it is there."""
        return eventually(lambda: next((span for span in list(self.spans) if matches(span)), None), timeout)


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collected.headers.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            if collected.status == 200:
                collected.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(collected.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collected = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collected
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for group in request.resource_spans:
        resource = {each.key: _value(each.value) for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _seen(span, resource)


def _seen(span: Span, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        problem=span.status.message,
        attributes={each.key: _value(each.value) for each in span.attributes},
        exceptions=[{each.key: _value(each.value) for each in event.attributes} for event in span.events],
        resource=resource,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
