"""The metrics of a cluster in Prometheus' text format. No effects here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flyteray._plan.traffic.figures import BOUNDS_US, CLASSES, Figures
from flyteray._plan.traffic.load import VersionLoad
from flyteray._plan.traffic.shadow import LEFT_OUT, Compared

_STEP = 4  # of the bounds that are kept every fourth is told: 1.58 times the one before
_TOLD_US = BOUNDS_US[::_STEP]
_OF = ("app", "version")


@dataclass(frozen=True)
class Snapshot:
    """What is told of a cluster at a moment.

    Attributes:
        loads: The versions of apps of which something runs.
        runs: How many runs are in each phase.
        actions: How many actions of runs that have not ended are in each phase.
        ingresses: Whether the ingress of each machine is up, by the machine's address.
        unseen: How many requests were too many to be counted, by the machine's address.
        since: When the controller was started, in seconds since 1970.
        version: Flyteray's.
    """

    loads: Sequence[VersionLoad]
    runs: Mapping[str, int]
    actions: Mapping[str, int]
    ingresses: Mapping[str, bool]
    unseen: Mapping[str, int]
    since: float
    version: str


class _Told(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        yield from _of_apps(self._snapshot.loads)
        yield from _of_cluster(self._snapshot)


def text(snapshot: Snapshot) -> bytes:
    """The metrics, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(snapshot))
    written: bytes = generate_latest(registry)
    return written


def _of_apps(loads: Sequence[VersionLoad]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "flyteray_app_requests",
        "Requests that have ended, by the class of their status.",
        labels=(*_OF, "status"),
    )
    latency = HistogramMetricFamily(
        "flyteray_app_latency_seconds", "Time from a request's headers to the answer's.", labels=_OF
    )
    errors = CounterMetricFamily(
        "flyteray_app_errors", "Requests that failed for no fault of the client's.", labels=_OF
    )
    aborted = CounterMetricFamily("flyteray_app_aborted", "Requests whose client left first.", labels=_OF)
    cold = CounterMetricFamily(
        "flyteray_app_cold_starts", "Times that a sleeping version was woken.", labels=_OF
    )
    gauges = {
        "in_flight": GaugeMetricFamily(
            "flyteray_app_in_flight", "Open requests that a replica has.", labels=_OF
        ),
        "queued": GaugeMetricFamily(
            "flyteray_app_queued", "Requests that wait for a replica with room.", labels=_OF
        ),
        "waiting": GaugeMetricFamily(
            "flyteray_app_waiting", "Requests that wait for a replica to start.", labels=_OF
        ),
        "ready": GaugeMetricFamily("flyteray_app_replicas", "Replicas that are ready.", labels=_OF),
        "wanted": GaugeMetricFamily(
            "flyteray_app_replicas_wanted", "Replicas that there are to be.", labels=_OF
        ),
    }
    for load in loads:
        of, figures = (load.app, load.version), load.figures
        unanswered = figures.requests - sum(figures.classes)
        for status, count in zip((*CLASSES, "none"), (*figures.classes, unanswered), strict=True):
            requests.add_metric((*of, status), count)
        latency.add_metric(of, buckets=_buckets(figures), sum_value=figures.waited_us / 1e6)
        for family, count in ((errors, figures.errors), (aborted, figures.aborted), (cold, load.cold_starts)):
            family.add_metric(of, count)
        now = (load.open.in_flight, load.open.queued, load.open.waiting, load.ready, load.wanted)
        for gauge, value in zip(gauges.values(), now, strict=True):
            gauge.add_metric(of, value)
    yield from (requests, latency, errors, aborted, cold, *gauges.values())
    yield from _of_shadows(load for load in loads if load.compared is not None)


def _of_shadows(loads: Iterable[VersionLoad]) -> Iterator[Metric]:
    copies = CounterMetricFamily(
        "flyteray_shadow_copies",
        "Requests that were to be copied to a shadow: same and otherwise are those that it answered with the live "
        "status and with another one, the others tell why they were not copied.",
        labels=(*_OF, "outcome"),
    )
    latency = HistogramMetricFamily(
        "flyteray_shadow_latency_seconds",
        "Time to the answer's headers of requests that a shadow has answered as well, by who has answered.",
        labels=(*_OF, "answer"),
    )
    for load in loads:
        of, compared = (load.app, load.version), load.compared or Compared()
        both, otherwise = compared.shadow.requests, sum(compared.otherwise.values())
        outcomes = {
            "same": both - otherwise,
            "otherwise": otherwise,
            **dict.fromkeys(LEFT_OUT, 0),
            **compared.left_out,
        }
        for outcome, count in outcomes.items():
            copies.add_metric((*of, outcome), count)
        for answer, figures in (("shadow", compared.shadow), ("live", compared.live)):
            latency.add_metric((*of, answer), buckets=_buckets(figures), sum_value=figures.waited_us / 1e6)
    yield from (copies, latency)


def _buckets(figures: Figures) -> list[tuple[str, float]]:
    within = zip(_TOLD_US, figures.within(_TOLD_US), strict=True)
    return [*((str(bound / 1e6), count) for bound, count in within), ("+Inf", figures.answered)]


def _of_cluster(snapshot: Snapshot) -> Iterator[Metric]:
    runs = GaugeMetricFamily("flyteray_runs", "Runs by phase.", labels=("phase",))
    actions = GaugeMetricFamily(
        "flyteray_actions", "Actions of runs that have not ended, by phase.", labels=("phase",)
    )
    for family, counts in ((runs, snapshot.runs), (actions, snapshot.actions)):
        for phase, count in sorted(counts.items()):
            family.add_metric((phase,), count)
    up = GaugeMetricFamily("flyteray_ingress_up", "Whether a machine's ingress serves.", labels=("machine",))
    for machine, serves in sorted(snapshot.ingresses.items()):
        up.add_metric((machine,), float(serves))
    unseen = CounterMetricFamily(
        "flyteray_ingress_unseen_requests",
        "Requests that a machine's ingress could not count, as there were too many at one time.",
        labels=("machine",),
    )
    for machine, count in sorted(snapshot.unseen.items()):
        unseen.add_metric((machine,), count)
    since = GaugeMetricFamily(
        "flyteray_controller_start_time_seconds", "When the controller was started.", value=snapshot.since
    )
    build = GaugeMetricFamily("flyteray_build_info", "Which flyteray runs.", labels=("version",))
    build.add_metric((snapshot.version,), 1)
    yield from (runs, actions, up, unseen, since, build)
