"""One trace from a request or a program to the last child action, as a collector is sent it by a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.acceptance.command import Shell
from tests.collector import Collector, Seen, collector

SAMPLE = str(Path(__file__).with_name("sample_traced.py"))
PARENT = "b7ad6b7169203331"

pytestmark = pytest.mark.timeout(400)


def sent(trace: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{flags}"}


def program(shell: Shell, *words: str, **environment: str) -> dict[str, list[str]]:
    """What the sample says of each of the words, which it does one after the other."""
    done = shell.run([sys.executable, SAMPLE, *words], **environment)
    assert done.returncode == 0, done.stderr
    assert "OpenTelemetry" not in done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


def named(spans: list[Seen], name: str) -> list[Seen]:
    return sorted((span for span in spans if span.name == name), key=lambda span: span.began_ns)


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, collected: Collector) -> Iterator[Shell]:
    """A terminal with a local cluster that was told where traces go; programs in it are told nothing."""
    shell = Shell(tmp_path_factory.mktemp("folder"), home=tmp_path_factory.mktemp("home"))
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=key-of-collector",
    }
    try:
        done = shell.flyteray("up", "--num-cpus", "2", **variables)
        assert done.returncode == 0, done.stderr
        assert "key-of-collector" not in shell.flyteray("status", "-o", "json").stdout
        yield shell
    finally:
        shell.flyteray("down")


@pytest.fixture(scope="module")
def endpoint(shell: Shell) -> str:
    return program(shell, "serve")["serve"][0]


@pytest.fixture(scope="module")
def ran(shell: Shell, endpoint: str) -> dict[str, list[str]]:
    """The runs of one program by their tasks: the name of each, and its output or how it ended."""
    words = "has_flaky", "fails", "has_warm", "mapped=3", "has_known", "known=1"
    return program(shell, *words, f"asks_app={endpoint}")


def test_a_request_its_handler_a_run_and_its_actions_are_one_trace(
    endpoint: str, collected: Collector
) -> None:
    trace = "1" * 32
    assert httpx.get(f"{endpoint}/total/3", headers=sent(trace), timeout=120).json() == 5
    spans = collected.waits(14, trace=trace)

    [ingress], [handler] = named(spans, "GET traced-app"), named(spans, "GET /total/{count}")
    [run], [root], [adds] = named(spans, "flyteray.run"), named(spans, "traced.total"), named(spans, "adds")
    children = named(spans, "traced.square")
    traces = [span for span in spans if span.name.endswith(".looked_up")]
    inside = named(spans, "looked up")
    assert [span.parent for span in (ingress, handler, run, root, adds)] == [
        PARENT,
        ingress.id,
        handler.id,
        run.id,
        root.id,
    ]
    assert [span.parent for span in children] == [adds.id] * 3
    assert {span.parent for span in traces} == {span.id for span in children}
    assert {span.parent for span in inside} == {span.id for span in traces}
    assert len(spans) == 14
    assert not any(span.failed for span in spans)
    kinds = [span.kind for span in (ingress, handler, run, root, adds, *children)]
    assert kinds == ["server", "server", "producer", "consumer", "internal", *["internal"] * 3]
    services = [span.service for span in (ingress, handler, run, root, *children)]
    assert services == ["flyteray-ingress", *["traced-app"] * 2, *["traced"] * 4]
    assert handler.resource["service.version"] == ingress.attributes["flyteray.version"]
    assert handler.resource["service.instance.id"] == ingress.attributes["flyteray.replica"]
    assert {span.attributes["flyteray.run"] for span in (run, root, *children)} == {
        root.attributes["flyteray.run"]
    }
    assert (root.attributes["flyteray.action"], root.attributes["flyteray.attempt"]) == ("a0", 1)
    assert len({span.attributes["flyteray.action"] for span in children}) == 3
    assert collected.headers[0]["authorization"] == "key-of-collector"


def test_without_a_parent_a_request_begins_a_trace(endpoint: str, collected: Collector) -> None:
    told = httpx.get(f"{endpoint}/header").json()["traceparent"]
    spans = collected.waits(3, trace=told[3:35])

    [ingress], [handler] = named(spans, "GET traced-app"), named(spans, "GET /header")
    [inside] = named(spans, "in a handler")
    assert (ingress.parent, handler.parent, inside.parent) == ("", ingress.id, handler.id)
    assert told[36:52] == inside.id


def test_a_trace_that_is_not_recorded_is_only_a_header(endpoint: str, collected: Collector) -> None:
    trace, after = "2" * 32, "3" * 32
    told = httpx.get(f"{endpoint}/header", headers=sent(trace, "00")).json()["traceparent"]
    assert httpx.get(f"{endpoint}/total/1", headers=sent(trace, "00"), timeout=60).json() == 0
    httpx.get(f"{endpoint}/header", headers=sent(after))
    collected.waits(3, trace=after)

    assert (told[3:35], told[-2:]) == (trace, "00")
    assert not collected.of(trace)


def test_an_error_of_a_handler_is_told(endpoint: str, collected: Collector) -> None:
    trace = "4" * 32
    assert httpx.get(f"{endpoint}/broken", headers=sent(trace)).status_code == 500
    spans = collected.waits(2, trace=trace)

    [ingress], [handler] = named(spans, "GET traced-app"), named(spans, "GET /broken")
    assert (ingress.failed, handler.failed) == (True, True)
    assert handler.exceptions[0]["exception.type"] == "KeyError"
    assert "in a handler" in handler.exceptions[0]["exception.stacktrace"]


def test_websockets_and_streams_have_a_span_on_either_side(endpoint: str, collected: Collector) -> None:
    web, lines = "5" * 32, "6" * 32
    with connect(endpoint.replace("http", "ws") + "/echo", additional_headers=sent(web)) as websocket:
        websocket.send("a")
        assert websocket.recv() == "a"
    assert httpx.get(f"{endpoint}/stream", headers=sent(lines)).text == "0\n1\n2\n"

    [ingress], [handler] = (
        named(collected.waits(2, trace=web), f"GET {name}") for name in ("traced-app", "/echo")
    )
    assert (handler.parent, ingress.attributes["http.response.status_code"]) == (ingress.id, 101)
    [stream] = named(collected.waits(2, trace=lines), "GET /stream")
    assert stream.ended_ns - stream.began_ns > 100e6


def test_a_program_begins_a_trace_of_each_of_its_runs(
    ran: dict[str, list[str]], collected: Collector
) -> None:
    run, value = ran["has_flaky"]
    first = collected.one(lambda span: span.name == "flyteray.run" and span.attributes["flyteray.run"] == run)
    spans = collected.waits(6, trace=first.trace)

    assert (value, first.parent, first.service) == ("2", "", "sample_traced")
    [root] = named(spans, "traced.has_flaky")
    assert root.parent == first.id
    for task, why in (("traced.flaky", "ValueError"), ("traced.ends_itself", "")):
        failed, succeeded = named(spans, task)
        assert {failed.parent, succeeded.parent} == {root.id}
        assert (failed.failed, succeeded.failed) == (True, False)
        assert (failed.attributes["flyteray.attempt"], succeeded.attributes["flyteray.attempt"]) == (1, 2)
        assert why in failed.exceptions[0]["exception.type"]


def test_a_run_that_fails_has_its_error(ran: dict[str, list[str]], collected: Collector) -> None:
    run, value = ran["fails"]
    root = collected.one(lambda span: span.name == "traced.fails")

    assert (value, root.failed, root.attributes["flyteray.run"]) == ("FAILED", True, run)
    assert root.problem == "KeyError: 'always'"
    assert 'raise KeyError("always")' in root.exceptions[0]["exception.stacktrace"]


def test_a_local_app_has_spans_where_the_program_is_told_so(shell: Shell, collected: Collector) -> None:
    [told] = program(shell, "local-app", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)["local-app"]
    [handler] = named(collected.waits(2, trace=told[3:35]), "GET /header")

    assert (handler.service, handler.parent, handler.kind) == ("traced-app", PARENT, "server")


@pytest.mark.usefixtures("ran")
def test_warm_processes_and_maps_go_on_with_a_trace(collected: Collector) -> None:
    for root, child, count in (
        ("traced.has_warm", "traced-pool.warm", 4),
        ("traced.mapped", "traced.double", 3),
    ):
        above = collected.one(lambda span, root=root: span.name == root)  # type: ignore[misc]
        found = named(collected.waits(2 + count, trace=above.trace), child)
        assert [span.parent for span in found] == [above.id] * count


def test_a_result_that_is_kept_is_marked(ran: dict[str, list[str]], collected: Collector) -> None:
    run, _ = ran["has_known"]
    root = collected.one(lambda span: span.name == "traced-kept.has_known")
    computed, reused = named(collected.waits(4, trace=root.trace), "traced-kept.known")

    assert "flyteray.cached_from" not in computed.attributes
    assert reused.attributes["flyteray.cached_from"] == run
    again, _ = ran["known"]
    asked = collected.one(lambda span: span.attributes.get("flyteray.run") == again)
    assert (asked.name, asked.attributes["flyteray.cached_from"]) == ("flyteray.run", run)


def test_a_task_that_hands_on_its_trace_is_above_the_app_that_it_asks(
    ran: dict[str, list[str]], collected: Collector
) -> None:
    _, told = ran["asks_app"]
    spans = collected.waits(5, trace=told[3:35])

    [task], [ingress] = named(spans, "traced.asks_app"), named(spans, "GET traced-app")
    assert ingress.parent == task.id


def test_an_attempt_that_is_lost_with_its_worker_is_told_of(shell: Shell, collected: Collector) -> None:
    run, value = program(shell, "ends_itself")[
        "ends_itself"
    ]  # alone: the worker takes along what it has not sent
    spans = collected.waits_for(
        lambda spans: [each for each in spans if each.attributes.get("flyteray.run") == run], 3
    )

    [asked], (lost, done) = named(spans, "flyteray.run"), named(spans, "traced.ends_itself")
    assert (value, lost.failed, done.failed) == ("1", True, False)
    assert {lost.parent, done.parent} == {asked.id}
    assert [span.attributes["flyteray.attempt"] for span in (lost, done)] == [1, 2]
    assert (lost.service, done.service) == ("flyteray-keeper", "traced")


def test_local_runs_have_spans_where_the_program_is_told_so(shell: Shell, collected: Collector) -> None:
    run, value = program(shell, "local-total=2", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)["local-total"]
    first = collected.one(lambda span: span.name == "flyteray.run" and span.attributes["flyteray.run"] == run)
    spans = collected.of(first.trace)

    assert value == "1"
    [root] = named(spans, "traced.total")
    assert root.parent == first.id
    assert [span.parent for span in named(spans, "traced.square")] == [root.id] * 2
    assert {span.service for span in spans} == {"sample_traced"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_TRACES_SAMPLER": "xray"}, "OTEL_TRACES_SAMPLER is 'xray'"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4317'",
        ),
    ],
)
def test_a_cluster_is_not_started_with_what_cannot_be(
    tmp_path: Path, variables: dict[str, str], told: str
) -> None:
    shell = Shell(tmp_path, home=tmp_path / "home")
    done = shell.flyteray("up", **{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", **variables})

    assert done.returncode == 1
    assert told in done.stderr
    assert not (shell.home / "logs").exists()  # nothing of Ray has run
