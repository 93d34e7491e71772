from __future__ import annotations

import pytest

from flyteray._traces.asked import Sampling, are_asked, destination, sampling, variables_in
from flyteray.errors import InitializationError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def asked(**variables: str) -> bool:
    return are_asked(variables_in(variables))


@pytest.mark.parametrize(
    ("variables", "are"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_http"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console, OTLP"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_traces_are_asked_for_where_there_is_an_endpoint_that_is_to_have_them(
    variables: dict[str, str], are: bool
) -> None:
    assert asked(**variables) is are


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector:4318': set it",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:x"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is 'http://c:x'",
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_EXPORTER": "oltp"},
            "OTEL_TRACES_EXPORTER names 'oltp': set it to otlp or none",
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "PROTOCOL is 'grpc', but flyteray sends .*http/protobuf",
        ),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "TRACES_PROTOCOL is 'http/json'"),
    ],
)
def test_what_cannot_be_is_told(variables: dict[str, str], told: str) -> None:
    with pytest.raises(InitializationError, match=told):
        asked(**variables)


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        (None, None, Sampling(True, 1.0)),
        (None, "0.2", Sampling(True, 1.0)),
        ("parentbased_always_on", None, Sampling(True, 1.0)),
        ("parentbased_always_off", None, Sampling(True, 0.0)),
        ("parentbased_traceidratio", "0.25", Sampling(True, 0.25)),
        ("parentbased_traceidratio", None, Sampling(True, 1.0)),
        ("always_on", None, Sampling(False, 1.0)),
        ("always_off", None, Sampling(False, 0.0)),
        ("TraceIdRatio", "1e-3", Sampling(False, 0.001)),
    ],
)
def test_samplers_are_those_of_opentelemetry(
    sampler: str | None, argument: str | None, expected: Sampling
) -> None:
    said = {"OTEL_TRACES_SAMPLER": sampler or "", "OTEL_TRACES_SAMPLER_ARG": argument or ""}

    assert sampling(variables_in(said)) == expected


@pytest.mark.parametrize(
    ("sampler", "argument", "told"),
    [
        (
            "jaeger_remote",
            "",
            "OTEL_TRACES_SAMPLER is 'jaeger_remote': set it to one of parentbased_always_on, .*",
        ),
        ("traceidratio", "all", "OTEL_TRACES_SAMPLER_ARG is 'all': set it to a number from 0 to 1"),
        ("parentbased_traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG is '1.5'"),
        ("traceidratio", "nan", "OTEL_TRACES_SAMPLER_ARG is 'nan'"),
    ],
)
def test_a_sampler_that_cannot_be_is_told(sampler: str, argument: str, told: str) -> None:
    said = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    with pytest.raises(InitializationError, match=told):
        sampling(variables_in(said))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (ENDPOINT, "http://collector:4318"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://me:pass@[::1]:4/v1?key=1"}, "https://[::1]:4/v1"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318"),
    ],
)
def test_where_spans_go_is_told_without_secrets(variables: dict[str, str], told: str) -> None:
    assert destination(variables_in(variables)) == told


def test_only_variables_of_opentelemetry_travel() -> None:
    said = {"PATH": "/bin", "OTEL_B": "2", "OTEL_A": " 1 ", "OTEL_EMPTY": ""}

    assert variables_in(said) == (("OTEL_A", "1"), ("OTEL_B", "2"))
