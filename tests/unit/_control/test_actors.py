from __future__ import annotations

import pytest

from flyteray._control.actors import asked_traces
from flyteray._settings import Settings
from flyteray._traces import export
from flyteray.errors import InitializationError

HOME = {"FLYTERAY_HOME": "/nowhere"}
ASKED = {**HOME, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_a_cluster_sends_traces_as_those_variables_say_that_it_is_started_with() -> None:
    assert asked_traces(Settings.of(HOME)) == ()
    assert asked_traces(Settings.of({**HOME, "OTEL_SERVICE_NAME": "a"})) == ()
    assert asked_traces(Settings.of({**ASKED, "OTEL_TRACES_EXPORTER": "none"})) == ()
    assert asked_traces(Settings.of(ASKED)) == (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),)


def test_a_cluster_is_not_started_where_traces_are_asked_for_and_nothing_can_send_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "_PACKAGE", "opentelemetry.exporter.of_nobody")
    assert asked_traces(Settings.of(HOME)) == ()
    with pytest.raises(InitializationError, match=r"pip install 'flyteray\[otel\]'"):
        asked_traces(Settings.of(ASKED))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),  # less than what is sent at one time
        ("OTEL_BSP_SCHEDULE_DELAY", "-5"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
    ],
)
def test_a_cluster_is_not_started_where_opentelemetry_refuses_a_number(name: str, value: str) -> None:
    with pytest.raises(
        InitializationError, match=r"OpenTelemetry refuses what its environment variables say: .*OTEL_"
    ):
        asked_traces(Settings.of({**ASKED, name: value}))


def test_headers_are_not_shown_with_settings() -> None:
    settings = Settings.of({**ASKED, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret"})

    assert "secret" not in repr(settings)
