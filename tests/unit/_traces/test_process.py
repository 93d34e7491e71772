from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.collector import Collector, collector
from tests.waiting import eventually

# A worker, as far as traces are concerned: what it is told, the user's code, what goes on.
WORKER = """
import json, os, sys
from flyteray._traces.process import tracing
from flyteray._traces.spans import begin
tracing().lend(tuple(json.loads(os.environ.pop("LENT")).items()))
{code}
tracing().begin("worker")
span = begin("ours", "internal", {{}})
if span is not None:
    with span.inside():
        {inside}
    span.end()
print(json.dumps([span is not None, [name for name in sys.modules if name.startswith("opentelemetry")]]))
"""
OWN = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
own = TracerProvider(resource=Resource.create({"service.name": "users"}))
own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(own)
"""
USERS = "from opentelemetry import trace; trace.get_tracer('users').start_span('theirs').end()"


def run(
    lent: dict[str, str], code: str = "", inside: str = "pass", **variables: str
) -> tuple[bool, list[str], str]:
    """Run a worker: whether it has made a span, the modules of OpenTelemetry that it has, what it has logged."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER.format(code=code, inside=inside)],
        env={"LENT": json.dumps(lent), **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    made, modules = json.loads(done.stdout)
    return made, modules, done.stderr


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


def lent(collected: Collector, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url, **more}


def test_where_nobody_asks_for_traces_nothing_of_opentelemetry_is_there() -> None:
    assert run({}) == (False, [], "")


def test_what_is_left_is_sent_when_the_process_ends(collected: Collector) -> None:
    made, _, told = run(lent(collected), inside=USERS)

    assert (made, told) == (True, "")
    users, ours = sorted(collected.spans, key=lambda span: span.name == "ours")
    assert users.parent == ours.id
    assert {span.service for span in collected.spans} == {"worker"}


def test_a_provider_of_the_users_is_kept_and_used(collected: Collector) -> None:
    made, _, told = run(lent(collected), code=OWN, inside=USERS)

    assert (made, told) == (True, "")
    assert sorted((span.service, span.name) for span in collected.spans) == [
        ("users", "ours"),
        ("users", "theirs"),
    ]


def test_a_provider_of_the_users_is_used_where_nobody_else_asks_for_traces(collected: Collector) -> None:
    made, _, _ = run({}, code=OWN, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)

    assert made
    assert [span.name for span in collected.spans] == ["ours"]


@pytest.mark.parametrize(
    "said",
    [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=lambda said: next(iter(said)),
)
def test_an_environment_can_have_none(collected: Collector, said: dict[str, Any]) -> None:
    made, modules, told = run(lent(collected), **said)

    assert (made, modules, told) == (False, [], "")


def test_what_the_machine_says_goes_before(collected: Collector) -> None:
    with collector() as nearer:
        run(lent(collected), OTEL_EXPORTER_OTLP_ENDPOINT=nearer.url)

    assert [span.name for span in nearer.spans] == ["ours"]
    assert not collected.spans


def test_variables_that_cannot_be_are_told_once_and_end_nothing(collected: Collector) -> None:
    made, _, told = run(lent(collected), OTEL_EXPORTER_OTLP_PROTOCOL="grpc")

    assert not made
    assert told.count("This process sends no traces: OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'") == 1


def test_a_process_of_the_users_gets_no_provider_and_no_variables(collected: Collector) -> None:
    script = """
import json, os, sys
from flyteray._traces.process import tracing
from flyteray._traces.spans import begin
tracing().begin_beside(tuple(json.loads(os.environ["LENT"]).items()))
from opentelemetry import trace
begin("ours", "internal", {}).end()
trace.get_tracer("users").start_span("nobody's").end()
tracing().begin_beside(())
print([name for name in os.environ if name.startswith("OTEL_")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"LENT": json.dumps(lent(collected))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert [(span.service, span.name) for span in collected.spans] == [("python", "ours")]


def test_an_endpoint_that_takes_nothing_does_not_hold_up_the_end(collected: Collector) -> None:
    collected.status = 503  # for which exporters try again, for ten seconds

    run(lent(collected))

    eventually(lambda: collected.headers)
    assert not collected.spans
