from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from flyteray._serve.servers.protocol import KeptConnections
from flyteray._serve.servers.traced import TracedRequests, trace_requests
from tests.unit._traces.recorded import recorded

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"tracestate", b"vendor=1")]

app = FastAPI()


@app.get("/items/{number}")
async def item(number: int) -> str:
    trace.get_tracer("users").start_span("nobody's")
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


@app.get("/sync")
def sync() -> str:
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


@app.get("/broken")
async def broken() -> None:
    raise KeyError("so it is")


@app.get("/works")
async def works(later: BackgroundTasks) -> None:
    later.add_task(_notes_end)


def _notes_end() -> None:
    _ended.append(trace.get_current_span().is_recording())


_ended: list[bool] = []


def ask(
    application: Any, path: str, headers: list[tuple[bytes, bytes]] = HEADERS, kind: str = "http"
) -> list[Any]:
    """What an application sends for a request."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""} if kind == "http" else {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "raw_path": path.encode(), "headers": headers, "query_string": b""}
    method = {"method": "GET"} if kind == "http" else {}
    asyncio.run(application({"http_version": "1.1", "root_path": "", **scope, **method}, receive, send))
    return sent


def spans_of(path: str, **options: Any) -> tuple[list[Any], tuple[ReadableSpan, ...]]:
    with recorded() as spans:
        sent = ask(TracedRequests(app), path, **options)
        return sent, spans.get_finished_spans()


@pytest.mark.parametrize("path", ["/items/7", "/sync"])
def test_a_handler_runs_in_the_span_of_its_request(path: str) -> None:
    sent, [span] = spans_of(path)

    route = "/items/{number}" if path == "/items/7" else path
    assert TRACE.encode() in sent[1]["body"]
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == PARENT
    assert span.name == f"GET {route}"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": path,
        "http.route": route,
        "http.response.status_code": 200,
    }


def test_an_error_is_told_and_goes_on() -> None:
    with recorded() as spans, pytest.raises(KeyError):
        ask(TracedRequests(app), "/broken")

    [span] = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["http.response.status_code"] == 500
    assert (span.events[0].attributes or {})["exception.type"] == "KeyError"
    assert "raise KeyError" in str((span.events[0].attributes or {})["exception.stacktrace"])


def test_a_span_ends_with_the_answer_and_not_with_the_work_that_follows() -> None:
    _, [span] = spans_of("/works")

    assert span.name == "GET /works"
    assert _ended == [False]


def test_a_websocket_has_one_span_until_it_ends() -> None:
    async def echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "a"})
        assert trace.get_current_span().is_recording()

    with recorded() as spans:
        ask(TracedRequests(echo), "/ws", kind="websocket")

    [span] = spans.get_finished_spans()
    assert (span.attributes or {})["http.response.status_code"] == 101


def test_spans_of_a_framework_that_reads_the_header_are_below() -> None:
    seen: dict[bytes, bytes] = {}

    async def reads(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        seen.update(scope["headers"])

    with recorded() as spans:
        ask(TracedRequests(reads), "/", headers=[*HEADERS, (b"other", b"1")])

    [span] = spans.get_finished_spans()
    below = f"00-{TRACE}-{span.context.span_id:016x}-01".encode()
    assert seen == {b"other": b"1", b"traceparent": below, b"tracestate": b"vendor=1"}


def test_where_a_trace_is_not_recorded_what_is_called_learns_it() -> None:
    headers = [(b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())]
    sent, spans = spans_of("/items/7", headers=headers)

    assert TRACE.encode() in sent[1]["body"]
    assert spans == ()


def test_without_a_provider_an_application_stays_as_it_is() -> None:
    kept = KeptConnections(app)
    trace_requests(kept)
    assert kept.app is app
    assert ask(TracedRequests(app), "/items/7")[0]["status"] == 200
    with recorded():
        trace_requests(kept)
    assert isinstance(kept.app, TracedRequests)


def test_what_is_done_for_a_copy_says_so() -> None:
    _, [span] = spans_of("/items/7", headers=[*HEADERS, (b"x-flyteray-shadow", b"1")])
    assert span.attributes is not None
    assert span.attributes["flyteray.shadow"] is True
    _, [other] = spans_of("/items/7")
    assert other.attributes is not None
    assert "flyteray.shadow" not in other.attributes
