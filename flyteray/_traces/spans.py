"""A span is made of what goes on here, below the one that is current or that came with a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from flyteray._traces.process import tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as MadeSpan

Carried = tuple[str, ...]
"""What a call takes with it of the trace that it belongs to: ``traceparent`` and ``tracestate``, or nothing."""

Kind = Literal["internal", "server", "producer", "consumer"]
Value = str | int | float | bool
Attributes = Mapping[str, Value | None]

_NAMES = ("traceparent", "tracestate")


class Described(Protocol):
    """An exception as text: its class, what it says, and where it was raised."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def traceback(self) -> str: ...


class Span:
    """A span that has begun; it is told of once it has ended, if its trace is recorded."""

    def __init__(self, made: MadeSpan) -> None:
        self._made = made

    @property
    def is_recorded(self) -> bool:
        """Whether anybody will see what is told of it."""
        return self._made.is_recording()

    def enter(self) -> None:
        """Be the current one in this context from now on: what begins there is below it."""
        # deferred, as all here: where no spans are made it is not needed
        from opentelemetry.context import attach
        from opentelemetry.trace import set_span_in_context

        attach(set_span_in_context(self._made))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be the current one in here."""
        from opentelemetry.trace import use_span  # deferred: see above

        with use_span(self._made, record_exception=False, set_status_on_exception=False):
            yield

    def carried(self) -> Carried:
        """What is below it elsewhere takes with it."""
        from opentelemetry.trace import set_span_in_context  # deferred: see above

        return _injected(set_span_in_context(self._made))

    def rename(self, name: str) -> None:
        """Have another name."""
        self._made.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""
        self._made.set_attributes(_known(attributes))

    def fail(self, problem: str, error: Described | None = None) -> None:
        """Have failed, with an exception where there is one."""
        from opentelemetry.trace import StatusCode  # deferred: see above

        if error is not None:
            told = {"type": error.code, "message": error.message, "stacktrace": error.traceback}
            self._made.add_event(
                "exception", {f"exception.{name}": text for name, text in told.items() if text}
            )
        self._made.set_status(StatusCode.ERROR, problem)

    def end(self, at_ns: int | None = None) -> None:
        """End, now or at a time in nanoseconds since 1970; ending again changes nothing."""
        if self._made.is_recording():
            self._made.end(at_ns)


def begin(
    name: str,
    kind: Kind,
    attributes: Attributes,
    carried: Carried | None = None,
    began_s: float | None = None,
) -> Span | None:
    """Begin a span; None where this process makes none.

    Args:
        name: What goes on, of which there are many.
        kind: As OpenTelemetry has it.
        attributes: Of which those that are None are left out.
        carried: What came with the call; nothing: it begins a trace. None: it is below the span that is current.
        began_s: When it has begun, in seconds since the epoch; None: now.
    """
    made_by = tracer()
    if made_by is None:
        return None
    from opentelemetry.trace import SpanKind  # deferred: see above

    made = made_by.start_span(
        name,
        None if carried is None else _extracted(carried),
        SpanKind[kind.upper()],
        _known(attributes),
        start_time=None if began_s is None else int(began_s * 1e9),
    )
    return Span(made)


def carried() -> Carried:
    """What a call from here takes with it; nothing where this process makes no spans, or none is current."""
    return () if tracer() is None else _injected(None)


def _known(attributes: Attributes) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _injected(context: Context | None) -> Carried:
    # deferred: see above
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return tuple(carrier[name] for name in _NAMES if name in carrier)


def _extracted(carried: Carried) -> Context:
    from opentelemetry.context import Context  # deferred: see above
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(dict(zip(_NAMES, carried, strict=False)), Context())
