from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flyteray._control.traffic.metrics import Snapshot, text
from flyteray._plan.traffic.figures import NONE_YET, Figures, place
from flyteray._plan.traffic.load import Open, VersionLoad
from flyteray._plan.traffic.shadow import Compared


def figures() -> Figures:
    latencies = list(NONE_YET)
    for took in (500, 2_000, 40_000, 200_000_000):
        latencies[place(took)] += 1
    return Figures(6, 1, 2, (0, 3, 0, 0, 1), 200_042_500, tuple(latencies))


LOAD = VersionLoad("hello", "v2", 2, 3, Open(5, 4, 1), figures(), 7)
SNAPSHOT = Snapshot(
    [LOAD], {"running": 2}, {"queued": 9}, {"10.0.0.1": True, "10.0.0.2": False}, {"10.0.0.1": 3}, 12.5, "9.9"
)


def told(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """The samples by their names and the values of their labels, which are in alphabetical order."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text(snapshot).decode())
        for sample in family.samples
    }


def test_requests_are_told_by_version_and_status() -> None:
    samples = told(SNAPSHOT)

    by_status = {
        status: samples["flyteray_app_requests_total", "hello", status, "v2"]
        for status in ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
    }
    assert by_status == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 1, "none": 2}
    assert samples["flyteray_app_errors_total", "hello", "v2"] == 1
    assert samples["flyteray_app_aborted_total", "hello", "v2"] == 2


def test_what_came_of_copies_is_told_for_shadows_only() -> None:
    compared = Compared(9, {"many": 4}, Figures(6, 0, 0), figures(), {"500 200": 1, "404 200": 1})
    samples = told(replace(SNAPSHOT, loads=[LOAD, replace(LOAD, version="v3", compared=compared)]))

    copies = {key[2]: value for key, value in samples.items() if key[0] == "flyteray_shadow_copies_total"}
    assert copies == {"same": 4, "otherwise": 2, "many": 4, "large": 0, "kind": 0}
    assert {key[-1] for key in samples if key[0].startswith("flyteray_shadow")} == {"v3"}
    assert samples["flyteray_shadow_latency_seconds_count", "shadow", "hello", "v3"] == 4
    assert samples["flyteray_shadow_latency_seconds_count", "live", "hello", "v3"] == 0


def test_latencies_are_a_histogram() -> None:
    samples = told(SNAPSHOT)

    buckets = {
        key[2]: value for key, value in samples.items() if key[0] == "flyteray_app_latency_seconds_bucket"
    }
    assert len(buckets) == 27
    assert (buckets["0.001"], buckets["0.01"], buckets["0.1"], buckets["100.0"], buckets["+Inf"]) == (
        1,
        2,
        3,
        3,
        4,
    )
    assert samples["flyteray_app_latency_seconds_count", "hello", "v2"] == 4
    assert samples["flyteray_app_latency_seconds_sum", "hello", "v2"] == pytest.approx(200.0425)


def test_what_is_so_now_is_told() -> None:
    samples = told(SNAPSHOT)

    of = ("hello", "v2")
    names = ("in_flight", "queued", "waiting", "replicas", "replicas_wanted", "cold_starts_total")
    assert [samples[(f"flyteray_app_{name}", *of)] for name in names] == [5, 4, 1, 2, 3, 7]
    assert samples["flyteray_runs", "running"] == 2
    assert samples["flyteray_actions", "queued"] == 9
    assert (samples["flyteray_ingress_up", "10.0.0.1"], samples["flyteray_ingress_up", "10.0.0.2"]) == (1, 0)
    assert samples["flyteray_ingress_unseen_requests_total", "10.0.0.1"] == 3
    assert samples["flyteray_controller_start_time_seconds",] == 12.5
    assert samples["flyteray_build_info", "9.9"] == 1


def test_of_a_cluster_without_apps_the_rest_is_told() -> None:
    assert told(Snapshot([], {}, {}, {}, {}, 1.0, "9.9"))["flyteray_build_info", "9.9"] == 1
