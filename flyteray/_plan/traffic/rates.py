"""What has become of the requests to apps between two looks at them. No effects here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.load import Open, VersionLoad


@dataclass(frozen=True)
class Rates:
    """The requests to an app, or to one version of it.

    Attributes:
        app: The app's name.
        version: The version's name; None: all of the app's.
        requests_per_s: Requests that ended, in a second.
        p50_ms: Milliseconds that half of the answers took at most; None: there was none.
        p95_ms: Those that 95 of 100 took at most.
        errors: The share of errors in the requests whose client stayed, from 0 to 1.
        open: Requests and connections that are open now.
        ready: How many replicas are ready.
        wanted: How many there are to be.
        versions: Those of the app, where there are several.
    """

    app: str
    version: str | None
    requests_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    errors: float
    open: Open
    ready: int
    wanted: int
    versions: tuple[Rates, ...] = ()


def rates(before: Iterable[VersionLoad], now: Sequence[VersionLoad], seconds: float) -> list[Rates]:
    """The rates of each app, by its name, from loads that were looked at so many seconds apart."""
    known = {(load.app, load.version): load.figures for load in before}
    ordered = sorted(now, key=lambda load: load.app)
    return [
        _of_app(app, list(loads), known, seconds) for app, loads in groupby(ordered, lambda load: load.app)
    ]


def _of_app(
    app: str, loads: list[VersionLoad], known: dict[tuple[str, str], Figures], seconds: float
) -> Rates:
    since = [load.figures.since(known.get((load.app, load.version), Figures())) for load in loads]
    versions = tuple(
        _rates(app, load.version, figures, [load], seconds)
        for load, figures in zip(loads, since, strict=True)
    )
    # What a shadow is asked is nothing that users have asked.
    live = [(load, figures) for load, figures in zip(loads, since, strict=True) if load.compared is None]
    whole = _rates(
        app, None, sum((figures for _, figures in live), Figures()), [load for load, _ in live], seconds
    )
    return whole if len(loads) < 2 else Rates(**{**vars(whole), "versions": versions})


def _rates(
    app: str, version: str | None, figures: Figures, loads: Iterable[VersionLoad], seconds: float
) -> Rates:
    loads = list(loads)
    return Rates(
        app=app,
        version=version,
        requests_per_s=figures.requests / seconds,
        p50_ms=_ms(figures.quantile(0.5)),
        p95_ms=_ms(figures.quantile(0.95)),
        errors=figures.error_rate,
        open=sum((load.open for load in loads), Open()),
        ready=sum(load.ready for load in loads),
        wanted=sum(load.wanted for load in loads),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
