from __future__ import annotations

import pytest

from flyteray._ingress.routes import IngressState
from flyteray._ingress.seen.lines import Ended, read
from flyteray._ingress.seen.spans import Spans
from tests.collector import collector

STATE = IngressState({"hello": 7}, owners={7: "hello"}, names={"b7": "v1", "b7/s1": "hello#one"})


def ended(number: int, status: int = 200, how: str = "--NN") -> Ended:
    """A request that took ten milliseconds, two until the answer began, and whose span has this number."""
    found = read(
        f"2479.6 b7 s1 {status} {how} 139 490 3 1 1796032450369203 1796032450371203 1796032450379203 "
        f"{'a' * 32}.{number:016x}.{'b' * 16} 10.0.0.9 ann 7f-3 - GET hello /hello/".encode()
    )
    assert found is not None
    return found


def test_a_span_is_made_of_a_line_as_it_was() -> None:
    with collector() as collected:
        spans = Spans((("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url),))
        spans.add([ended(1), ended(2, 502, "SHNN")], STATE)
        spans.close()

    good, bad = collected.spans
    assert (good.trace, good.id, good.parent) == ("a" * 32, f"{1:016x}", "b" * 16)
    assert (good.began_ns, good.ended_ns) == (1796032450369203000, 1796032450379203000)
    assert good.attributes == {
        "http.request.method": "GET",
        "url.path": "/hello/",
        "http.response.status_code": 200,
        "flyteray.app": "hello",
        "flyteray.version": "v1",
        "flyteray.replica": "hello#one",
        "flyteray.queue_ms": 3,
        "flyteray.connect_ms": 1,
        "flyteray.first_byte_ms": 2.0,
        "flyteray.request_id": "7f-3",
        "client.address": "10.0.0.9",
    }
    assert (bad.failed, bad.problem) == (True, "the replica broke off before the answer began")
    assert bad.attributes["flyteray.ended"] == bad.problem


def test_of_too_many_requests_some_have_no_span_and_that_is_told_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with collector() as collected:
        spans = Spans((("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url),))
        for _ in range(2):
            spans.add([ended(number) for number in range(1, 400)], STATE)
        spans.close()

    assert len(collected.spans) == 500
    assert capfd.readouterr().out.count("OTEL_TRACES_SAMPLER=parentbased_traceidratio") == 1
