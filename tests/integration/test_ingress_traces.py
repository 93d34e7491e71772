"""Traces at the ingress: what a replica is told, and the spans that a collector is sent of requests that have ended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import OVER_HTTP2, IngressState, Slot
from flyteray._traces import export
from tests.collector import Collector, Seen, collector
from tests.integration.grpc_talk import Client, Talk, channel, serve
from tests.integration.ingress_servers import Replica, replicas
from tests.waiting import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = f"00-{TRACE}-{PARENT}-01"
RIGHT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])")


def started(folder: Path, url: str, **options: Any) -> Ingress:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **options.pop("variables", {})}
    traces = tuple(sorted(variables.items()))
    return Ingress(folder, watched=os.getpid(), allowed_hosts=("a",), traces=traces, **options)


def state(*slots: Slot, **fields: Any) -> IngressState:
    """The app ``hello``, whose version ``v1`` has these replicas."""
    members = dict(enumerate(slots, start=1))
    return IngressState({"hello": 0}, {0: members}, owners={0: "hello"}, names={"b0": "v1"}, **fields)


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collected: Collector) -> Iterator[Ingress]:
    ingress = started(tmp_path_factory.mktemp("traced"), collected.url)
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def one(traced: Ingress) -> Iterator[Replica]:
    with replicas("one") as [one]:
        traced.apply(state(one.slot))
        yield one


def url(ingress: Ingress, path: str = "/hello/") -> str:
    return f"http://127.0.0.1:{ingress.port()}{path}"


def told(ingress: Ingress, headers: list[tuple[str, str]], path: str = "/hello/") -> dict[str, str]:
    """The headers that a replica got."""
    found: dict[str, str] = httpx.get(url(ingress, path), headers=headers).json()["headers"]
    return found


def span_of(collected: Collector, traceparent: str) -> Seen:
    """The span that a replica was told to be below."""
    match = RIGHT.fullmatch(traceparent)
    assert match is not None, traceparent
    return collected.one(lambda span: (span.trace, span.id) == (match[1], match[2]))


def test_a_span_of_a_request_is_between_that_of_the_client_and_that_of_the_replica(
    traced: Ingress, one: Replica, collected: Collector
) -> None:
    sent = [("traceparent", SENT), ("tracestate", "vendor=1"), ("x-request-id", "mine")]
    found = told(traced, sent, "/hello/a/b?token=secret")
    span = span_of(collected, found["traceparent"])

    assert (span.trace, span.parent, span.kind, span.name) == (TRACE, PARENT, "server", "GET hello")
    assert (span.service, span.failed) == ("flyteray-ingress", False)
    assert found["tracestate"] == "vendor=1"
    assert span.began_ns < span.ended_ns
    first_byte = span.attributes.pop("flyteray.first_byte_ms")
    assert 0 < first_byte < 10_000
    assert span.attributes == {
        "http.request.method": "GET",
        "url.path": "/hello/a/b",
        "http.response.status_code": 200,
        "flyteray.app": "hello",
        "flyteray.version": "v1",
        "flyteray.replica": "s1",
        "flyteray.queue_ms": 0,
        "flyteray.connect_ms": span.attributes["flyteray.connect_ms"],
        "flyteray.request_id": "mine",
    }


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [("traceparent", "")],
        [("traceparent", "nonsense")],
        [("traceparent", f"00-{TRACE}-{PARENT}")],
        [("traceparent", f"00-{TRACE}-{PARENT}-01-more")],
        [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
        [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"00-{TRACE.upper()}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE[1:]}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE}-{PARENT}-0")],
        [("traceparent", SENT), ("traceparent", SENT)],
        [("traceparent", f"{SENT}, {SENT}")],
    ],
    ids=lambda sent: f"{len(sent)} {','.join(value for _, value in sent)[:75]}",
)
def test_what_is_no_parent_begins_a_trace(
    traced: Ingress, one: Replica, collected: Collector, sent: list[tuple[str, str]]
) -> None:
    found = told(traced, [*sent, ("tracestate", "vendor=1")])
    span = span_of(collected, found["traceparent"])

    assert (span.parent, span.trace == TRACE) == ("", False)
    assert "tracestate" not in found


@pytest.mark.parametrize(
    "sent",
    [f"00-{TRACE}-{PARENT}-03", f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-09-more"],
)
def test_later_versions_and_other_flags_are_understood(
    traced: Ingress, one: Replica, collected: Collector, sent: str
) -> None:
    found = told(traced, [("traceparent", sent)])

    assert span_of(collected, found["traceparent"]).parent == PARENT


def test_what_a_client_does_not_record_is_handed_on_so(
    traced: Ingress, one: Replica, collected: Collector
) -> None:
    found = told(traced, [("traceparent", f"00-{TRACE}-{PARENT}-00")])
    after = span_of(collected, told(traced, [("traceparent", SENT)])["traceparent"])

    match = RIGHT.fullmatch(found["traceparent"])
    assert match is not None
    assert (match[1], match[3]) == (TRACE, "0")
    assert after.trace == TRACE
    assert match[2] not in {span.id for span in collected.spans}


def test_identifiers_are_new_with_each_request(traced: Ingress, one: Replica) -> None:
    with httpx.Client() as client:
        found = [client.get(url(traced)).json()["headers"]["traceparent"] for _ in range(200)]

    assert len({each[3:35] for each in found}) == 200
    assert len({each[36:52] for each in found}) == 200
    assert len({each[19:21] for each in found}) > 50  # no part of them is always the same


def test_a_span_tells_which_version_has_answered(traced: Ingress, one: Replica, collected: Collector) -> None:
    with replicas("two") as [two]:
        members = {0: {1: one.slot}, 1: {1: two.slot}}
        names, owners = {"b0": "v1", "b1": "v2"}, {0: "hello", 1: "hello"}
        shares = {"hello": {1: 50}}
        traced.apply(IngressState({"hello": 0}, members, owners=owners, names=names, shares=shares))
        answers = [httpx.get(url(traced)).json() for _ in range(20)]
        spans = {each["replica"]: span_of(collected, each["headers"]["traceparent"]) for each in answers}
    traced.apply(state(one.slot))
    versions = {replica: span.attributes["flyteray.version"] for replica, span in spans.items()}

    assert versions == {"one": "v1", "two": "v2"}


def test_what_the_ingress_answers_itself_has_a_span(
    traced: Ingress, one: Replica, collected: Collector
) -> None:
    trace = "1" * 32
    httpx.get(url(traced, "/nope/x"), headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    [span] = collected.waits(1, trace=trace)

    assert (span.attributes["http.response.status_code"], span.failed) == (404, False)
    assert "flyteray.app" not in span.attributes
    assert span.attributes["flyteray.ended"] == "the ingress answered itself"


def test_an_app_without_a_replica_that_answers_has_failed(
    traced: Ingress, one: Replica, collected: Collector
) -> None:
    trace = "2" * 32
    with replicas("gone") as [gone]:
        slot = gone.slot
    traced.apply(state(slot))
    answer = httpx.post(url(traced), content=b"x", headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    traced.apply(state(one.slot))
    [span] = collected.waits(1, trace=trace)

    assert answer.status_code == 503
    assert (span.failed, span.problem) == (True, "status 503")


def test_a_websocket_has_one_span_that_ends_with_it(
    traced: Ingress, one: Replica, collected: Collector
) -> None:
    trace = "3" * 32
    headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
    with connect(f"ws://127.0.0.1:{traced.port()}/hello/ws", additional_headers=headers) as ws:
        ws.send("a")
        assert ws.recv()
        told(traced, [("traceparent", f"00-{'4' * 32}-{PARENT}-01")])
        collected.waits(1, trace="4" * 32)
        assert not collected.of(trace)
    [span] = collected.waits(1, trace=trace)

    assert span.attributes["http.response.status_code"] == 101


def test_a_stream_has_one_span_as_long_as_it_is(traced: Ingress, one: Replica, collected: Collector) -> None:
    trace = "5" * 32
    with httpx.stream(
        "GET", url(traced, "/hello/stream"), headers={"traceparent": f"00-{trace}-{PARENT}-01"}
    ) as lines:
        began = lines.iter_lines()
        for _ in range(3):
            one.go_on.set()
            next(began)
        assert list(began) == []
    [span] = collected.waits(1, trace=trace)

    assert span.attributes["flyteray.first_byte_ms"] * 1e6 < span.ended_ns - span.began_ns


def test_an_entry_of_the_access_log_and_a_span_go_together(tmp_path: Path, collected: Collector) -> None:
    trace = "6" * 32
    ingress = started(tmp_path, collected.url, access_log=True)
    with replicas("one") as [one]:
        ingress.apply(state(one.slot))
        told(ingress, [("traceparent", f"00-{trace}-{PARENT}-01"), ("x-request-id", "both")])
        [span] = collected.waits(1, trace=trace)
        log = ingress.seen.log
        assert log is not None
        [entry] = eventually(lambda: log.last("hello", 5).entries)
        ingress.stop()

    assert '"path":"/hello/"' in entry
    assert '"request_id":"both"' in entry
    assert span.attributes["client.address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("sampler", "argument", "new", "asked", "refused"),
    [
        ("parentbased_always_off", "", False, True, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("parentbased_traceidratio", "1", True, True, False),
        ("always_off", "", False, False, False),
        ("always_on", "", True, True, True),
    ],
)
def test_samplers_decide_at_the_ingress(
    tmp_path: Path, collected: Collector, sampler: str, argument: str, new: bool, asked: bool, refused: bool
) -> None:
    variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    ingress = started(tmp_path, collected.url, variables=variables)
    with replicas("one") as [one]:
        ingress.apply(state(one.slot))
        flags = [
            told(ingress, sent)["traceparent"][-2:]
            for sent in ([], [("traceparent", SENT)], [("traceparent", f"{SENT[:-2]}00")])
        ]
        ingress.stop()

    assert flags == ["01" if each else "00" for each in (new, asked, refused)]


def test_a_share_of_the_traces_is_recorded_as_samplers_of_opentelemetry_do(
    tmp_path: Path, collected: Collector
) -> None:
    variables = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    ingress = started(tmp_path, collected.url, variables=variables)
    with replicas("one") as [one], httpx.Client() as client:
        ingress.apply(state(one.slot))
        found = [client.get(url(ingress)).json()["headers"]["traceparent"] for _ in range(200)]
        ingress.stop()

    recorded = [each for each in found if each.endswith("-01")]
    assert 60 < len(recorded) < 140
    assert {each[19] in "01234567" for each in recorded} == {True}


def test_metadata_of_grpc_has_the_trace(tmp_path: Path, collected: Collector) -> None:
    trace = "7" * 32
    ingress = started(tmp_path, collected.url)
    talk = Talk()
    server, port = serve(talk, "127.0.0.1:0")
    slots = {OVER_HTTP2 + 1: Slot("127.0.0.1", port)}
    ingress.apply(IngressState({"talk": 0}, {0: slots}, owners={0: "talk"}, http2=frozenset({0})))
    metadata = (("traceparent", f"00-{trace}-{PARENT}-01"),)
    with Client(channel(f"127.0.0.1:{ingress.port()}", "talk")) as client:
        assert client.echo(b"a", metadata=metadata, wait_for_ready=True, timeout=20) == b"a"
    [span] = collected.waits(1, trace=trace)
    server.stop(None).wait()
    ingress.stop()

    assert (span.parent, span.attributes["flyteray.app"]) == (PARENT, "talk")
    assert talk.seen["Echo"][0]["traceparent"] == f"00-{trace}-{span.id}-01"


def test_an_endpoint_that_nobody_listens_at_changes_nothing_for_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ingress = started(tmp_path, "http://127.0.0.1:9", variables={"OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    with replicas("one") as [one], httpx.Client() as client:
        ingress.apply(state(one.slot))
        assert {client.get(url(ingress)).status_code for _ in range(100)} == {200}
        eventually(lambda: ingress.seen.figures([0])[0].requests == 100)
        eventually(lambda: caplog.records)
        assert {client.get(url(ingress)).status_code for _ in range(100)} == {200}
        ingress.stop()

    [told] = [
        each.getMessage() for each in caplog.records if each.name.startswith(("flyteray", "opentelemetry"))
    ]
    assert told.startswith("Traces can't be sent, and are left out until they can: ")


def test_a_machine_that_lacks_what_sends_spans_serves_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "_PACKAGE", "opentelemetry.exporter.of_nobody")
    ingress = started(tmp_path, "http://127.0.0.1:9")
    with replicas("one") as [one]:
        ingress.apply(state(one.slot))
        assert RIGHT.fullmatch(told(ingress, [])["traceparent"])
        ingress.stop()

    assert (
        capfd.readouterr().out.count("The ingress sends no traces: An endpoint for traces is configured") == 1
    )
