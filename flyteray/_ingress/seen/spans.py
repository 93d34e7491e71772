"""Spans of requests are made of HAProxy's lines when these have ended, by the identifiers that HAProxy has chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flyteray._ingress.routes import IngressState
from flyteray._ingress.seen import entries
from flyteray._ingress.seen.lines import Ended
from flyteray._ingress.seen.traces import Trace
from flyteray._traces.asked import Variables
from flyteray._traces.export import Flusher, Sending
from flyteray._traces.process import as_variables

_SERVICE = "flyteray-ingress"
_LAST_WORDS_S = 1.0
_AT_ONCE = 250  # takes a twentieth of a second of one core at most
_WHOLE = entries.ended("--")  # the request and its answer


class Spans:
    """Sends spans of requests as the variables of OpenTelemetry say.

    Raises:
        InitializationError: what sends them is not installed.
    """

    def __init__(self, variables: Variables) -> None:
        # deferred: who asks for no traces does without it
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        class Chosen(IdGenerator):
            next = Trace(0, 0, None)

            def generate_trace_id(self) -> int:
                return self.next.trace

            def generate_span_id(self) -> int:
                return self.next.span

        self._ids = Chosen()
        self._is_short = False
        with as_variables(variables):
            self._sending = Sending(_SERVICE, ids=self._ids, sampler=ALWAYS_ON)  # HAProxy has chosen
        self._tracer = self._sending.provider.get_tracer("flyteray")
        self._flusher = Flusher(lambda: self._sending)

    def add(self, requests: Iterable[Ended], state: IngressState) -> None:
        """Make the spans of requests that have ended; to be called from one thread, twenty times a second at most.

        Of more than five thousand a second the rest has none: who counts requests must not fall behind for them.
        """
        traced = [request for request in requests if request.trace is not None]
        for request in traced[:_AT_ONCE]:
            self._add(request, request.trace, state)
        if len(traced) > _AT_ONCE and not self._is_short:
            self._is_short = True  # told once
            print(
                "The ingress can't make spans of so many requests, and leaves some out: have a share of the traces "
                "recorded, with OTEL_TRACES_SAMPLER=parentbased_traceidratio and OTEL_TRACES_SAMPLER_ARG=0.1.",
                flush=True,
            )

    def close(self) -> None:
        """Send those that are left, as far as that takes no more than a second."""
        self._flusher.now(_LAST_WORDS_S)

    def _add(self, request: Ended, trace: Trace | None, state: IngressState) -> None:
        assert trace is not None
        # deferred: as above
        from opentelemetry.trace import SpanKind, Status, StatusCode

        who = entries.answerer(request, state)
        whole = request.whole_us or 0
        self._ids.next = trace
        span = self._tracer.start_span(
            f"{request.method} {who.app or ''}".strip(),
            _below(trace),
            SpanKind.SERVER,
            _told(request, who),
            start_time=(request.over_us - whole) * 1000,
        )
        if request.fate.is_error:
            how = entries.ended(request.termination)
            problem = f"status {request.status}" if how == _WHOLE else how
            span.set_status(Status(StatusCode.ERROR, problem))
        span.end(request.over_us * 1000)


def _told(request: Ended, who: entries.Answerer) -> dict[str, Any]:
    """The attributes of a request's span, as far as they are known."""
    fate, (queue, connect) = request.fate, request.waits
    latency, ended = request.latency_us, entries.ended(request.termination)
    known = {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": request.status if fate.is_answered else None,
        "flyteray.app": who.app,
        "flyteray.version": who.version,
        "flyteray.replica": who.replica,
        "flyteray.queue_ms": int(queue) if queue[0] != "-" else None,
        "flyteray.connect_ms": int(connect) if connect[0] != "-" else None,
        "flyteray.first_byte_ms": latency / 1000 if latency is not None and fate.is_answered else None,
        "flyteray.ended": None if ended == _WHOLE else ended,
        "flyteray.request_id": request.id,
        "client.address": request.client,
    }
    return {name: value for name, value in known.items() if value is not None and value != "-"}


def _below(trace: Trace) -> Any:
    # deferred: as above
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if trace.parent is None:
        return Context()
    parent = SpanContext(
        trace.trace, trace.parent, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
