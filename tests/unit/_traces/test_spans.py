from __future__ import annotations

import contextvars

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from flyteray._plan import failure
from flyteray._traces.spans import Span, begin, carried
from tests.unit._traces.recorded import recorded

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CAME = (f"00-{TRACE}-{PARENT}-01", "vendor=1")


def begun(name: str = "a", *came: str) -> Span:
    span = begin(name, "internal", {}, came)
    assert span is not None
    return span


def test_without_a_provider_there_are_no_spans_and_nothing_is_carried() -> None:
    assert begin("a", "internal", {}) is None
    assert carried() == ()


def test_a_span_continues_the_trace_that_came_and_is_continued_by_what_it_carries() -> None:
    with recorded() as spans:
        span = begun("a", *CAME)
        parent, state = span.carried()
        begun("b", parent, state).end()
        span.end()

    below, above = spans.get_finished_spans()
    assert above.parent is not None
    assert below.parent is not None
    assert format(above.context.trace_id, "032x") == format(below.context.trace_id, "032x") == TRACE
    assert format(above.parent.span_id, "016x") == PARENT
    assert below.parent.span_id == above.context.span_id
    assert state == "vendor=1"


@pytest.mark.parametrize(
    "came",
    [
        (),
        ("",),
        (f"00-{'0' * 32}-{PARENT}-01",),
        (f"00-{TRACE}-{'0' * 16}-01",),
        (f"ff-{TRACE}-{PARENT}-01",),
        (f"00-{TRACE}-{PARENT}-01-more",),
        (f"00-{TRACE.upper()}-{PARENT}-01",),
        (f"00-{TRACE}-{PARENT}",),
        ("nonsense", "vendor=1"),
    ],
)
def test_what_is_no_parent_begins_a_trace(came: tuple[str, ...]) -> None:
    with recorded() as spans:
        begun("a", *came).end()

    [span] = spans.get_finished_spans()
    assert span.parent is None
    assert format(span.context.trace_id, "032x") != TRACE


def test_what_a_parent_has_decided_holds() -> None:
    with recorded(ParentBased(ALWAYS_OFF)) as spans:
        begun("recorded", *CAME).end()
        begun("not").end()
    with recorded(ParentBased(TraceIdRatioBased(1))) as more:
        unrecorded = begun("not", f"00-{TRACE}-{PARENT}-00")
        assert not unrecorded.is_recorded
        assert unrecorded.carried()[0].startswith(f"00-{TRACE}-")
        assert unrecorded.carried()[0].endswith("-00")
        unrecorded.end()

    assert [span.name for span in spans.get_finished_spans()] == ["recorded"]
    assert not more.get_finished_spans()


def test_spans_of_users_are_below_the_one_that_is_current() -> None:
    with recorded() as spans:
        span, bound = begun(), contextvars.copy_context()
        bound.run(span.enter)

        assert bound.run(carried) == span.carried()
        assert carried() == ()
        with span.inside():
            assert trace.get_current_span().get_span_context().is_valid
            assert carried() == span.carried()
        assert carried() == ()
        span.end()
    assert len(spans.get_finished_spans()) == 1


def test_a_failure_is_told_with_its_exception() -> None:
    with recorded() as spans:
        span = begun()
        try:
            raise ValueError("so it is")
        except ValueError as error:
            described = failure.describe(error)
        span.fail(described.summary, described)
        span.end()
        span.end()  # changes nothing

    [told] = spans.get_finished_spans()
    [event] = told.events
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, "ValueError: so it is")
    assert event.name == "exception"
    assert event.attributes is not None
    assert (event.attributes["exception.type"], event.attributes["exception.message"]) == (
        "ValueError",
        "so it is",
    )
    assert "raise ValueError" in str(event.attributes["exception.stacktrace"])


def test_a_span_has_kind_attributes_and_time() -> None:
    with recorded() as spans:
        span = begin("a", "consumer", {"one": 1, "none": None}, (), 12.5)
        assert span is not None
        span.tell({"two": "2", "none": None})
        span.rename("b")
        span.end(at_ns=13 * 10**9)

    [told] = spans.get_finished_spans()
    assert (told.name, told.kind, dict(told.attributes or {})) == (
        "b",
        SpanKind.CONSUMER,
        {"one": 1, "two": "2"},
    )
    assert (told.start_time, told.end_time) == (12_500_000_000, 13_000_000_000)
