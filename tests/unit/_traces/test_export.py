from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._traces import export
from flyteray._traces.export import Flusher, Sending, check_installed
from flyteray.errors import InitializationError
from tests.collector import Collector, collector
from tests.waiting import eventually

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def tell(sending: Sending, name: str = "told") -> None:
    sending.provider.get_tracer("test").start_span(name).end()


def test_spans_arrive_with_headers_and_the_name_of_the_process(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    found = Sending("my-app", {"service.version": "v1"})

    tell(found)
    Flusher(lambda: found).now(10)

    [span] = collected.spans
    assert span.service == "my-app"
    assert (span.resource["service.version"], span.resource["deployment.environment"]) == ("v1", "test")
    assert collected.headers[0]["authorization"] == "Bearer key"
    assert collected.headers[0]["path"] == "/v1/traces"
    found.provider.shutdown()


@pytest.mark.parametrize(
    "variables", [{"OTEL_SERVICE_NAME": "theirs"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs"}]
)
def test_a_name_that_is_said_goes_before(
    collected: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Sending("my-app")

    tell(found)
    Flusher(lambda: found).now(10)

    assert collected.spans[0].service == "theirs"
    found.provider.shutdown()


def test_spans_arrive_within_about_a_second_unasked(collected: Collector) -> None:
    found = Sending("a")

    tell(found)

    collected.waits(1, timeout=4)
    found.provider.shutdown()


def test_an_endpoint_that_nobody_listens_at_slows_nothing_and_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    found = Sending("a")
    flusher = Flusher(lambda: found)

    began = time.monotonic()
    for number in range(1000):
        tell(found, str(number))
        flusher.soon()
    assert time.monotonic() - began < 1
    for _ in range(2):
        flusher.now(20)
        tell(found)

    [told] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert told.name == export.__name__
    assert "Traces can't be sent" in told.getMessage()
    found.provider.shutdown()


def test_a_collector_that_is_there_again_has_what_follows(
    collected: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    found = Sending("a")
    flusher = Flusher(lambda: found)
    collected.status = 400
    tell(found, "lost")
    flusher.now(20)
    collected.status = 200
    tell(found, "kept")
    flusher.now(20)

    assert [span.name for span in collected.spans] == ["kept"]
    assert len(caplog.records) == 1
    found.provider.shutdown()


def test_a_wait_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def force_flush(self) -> None:
            time.sleep(3600)

    began = time.monotonic()
    Flusher(Endless).now(0.2)

    assert time.monotonic() - began < 2


def test_a_provider_that_fails_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def force_flush(self) -> None:
            raise ValueError("no")

    flusher = Flusher(Failing)
    flusher.now(10)
    flusher.now(10)

    assert [each.getMessage() for each in caplog.records] == [
        "Traces could not be sent: ValueError('no')"
    ] * 2


def test_a_copy_of_the_process_sends_its_own(collected: Collector, tmp_path: Path) -> None:
    found = Sending("a")
    flusher = Flusher(lambda: found)
    flusher.now(10)
    if not (child := os.fork()):
        try:
            tell(found, "of a copy")
            flusher.now(10)
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    eventually(lambda: [span.name for span in collected.spans] == ["of a copy"], timeout=10)
    found.provider.shutdown()


def test_numbers_that_opentelemetry_refuses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    with pytest.raises(InitializationError, match=r"max_queue_size\. Set right those that begin with OTEL_"):
        Sending("a")


def test_without_the_extra_an_error_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setattr(export, "_PACKAGE", "opentelemetry.exporter.of_nobody")
    with pytest.raises(
        InitializationError, match=r"pip install 'flyteray\[otel\]'.*OTEL_TRACES_EXPORTER=none"
    ):
        check_installed()
    with pytest.raises(InitializationError):
        Sending("a")
    monkeypatch.setattr(export, "_PACKAGE", "opentelemetry_missing.exporter")
    with pytest.raises(InitializationError):
        check_installed()
