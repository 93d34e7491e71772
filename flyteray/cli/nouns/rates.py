"""The rates of requests to apps, for programs and for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from flyteray._actors.questions import ask
from flyteray._client.session.session import session
from flyteray._plan.traffic.rates import Rates, rates
from flyteray.errors import AppNotFoundError

COLUMNS = ("app", "requests_per_s", "p50_ms", "p95_ms", "errors", "open", "queued", "waiting", "replicas")


def looks(apps: tuple[str, ...], interval: float) -> Iterator[list[Rates]]:
    """The rates of these apps, or of all, over one interval after the other.

    Raises:
        AppNotFoundError: nothing runs of one of them.
    """
    traffic = session().controller.traffic
    before, at = ask(traffic.loads()), time.monotonic()
    there = {load.app for load in before}
    if unknown := sorted(set(apps) - there):
        names = ", ".join(sorted(there)) or "none"
        raise AppNotFoundError(
            f"Nothing runs of an app {unknown[0]!r}. Apps that run on this cluster: {names}."
        )
    while True:
        time.sleep(interval)
        loads, now = ask(traffic.loads()), time.monotonic()
        yield [each for each in rates(before, loads, now - at) if not apps or each.app in apps]
        before, at = loads, now


def records(found: Iterable[Rates]) -> list[dict[str, Any]]:
    """The rates for programs."""
    return [asdict(each) for each in found]


def lines(found: Iterable[Rates]) -> list[dict[str, str]]:
    """The rates for people, by column: one of each app, followed by those of its versions where it has several."""
    return [_line(each) for app in found for each in (app, *app.versions)]


def _line(each: Rates) -> dict[str, str]:
    return {
        "app": each.app if each.version is None else f"  {each.version}",
        "requests_per_s": f"{each.requests_per_s:.1f}",
        "p50_ms": _ms(each.p50_ms),
        "p95_ms": _ms(each.p95_ms),
        "errors": f"{each.errors:.1%}",
        "open": str(each.open.in_flight),
        "queued": str(each.open.queued),
        "waiting": str(each.open.waiting),
        "replicas": str(each.ready) if each.ready == each.wanted else f"{each.ready} of {each.wanted}",
    }


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def table(found: Iterable[Rates]) -> Table:
    """The same as a table."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        drawn.add_column(column.replace("_", " ").upper(), justify="left" if column == "app" else "right")
    for line in lines(found):
        drawn.add_row(*(line[column] for column in COLUMNS))
    return drawn
