"""A timeline lists what a task did, step by step, in a tab of its report."""

from __future__ import annotations

import re
from datetime import datetime
from html import escape

from flyteray._declare.context import task_context
from flyteray._report.report import MAIN
from flyteray.report.writing import current_report

_MOST = 20_000  # characters of a value that is opened
_ERROR = 200  # characters of an error that are shown at once
_FRACTION = re.compile(r"\.(\d+)")


class Timeline:
    """A list of steps in a tab of the report, one row below the other.

    Rows go to the report of the task that runs; in a thread that belongs to no task, to that of the task which has
    made the timeline. Where there is none, nothing happens.

    Args:
        tab_name: The tab; it is made with the first row.
    """

    def __init__(self, tab_name: str = MAIN) -> None:
        self._tab_name = tab_name
        self._home = current_report()

    def heading(self, text: object) -> None:
        """Begin a part of the list; ``text`` is shown as it is, not as HTML."""
        self._add(f"<h3>{escape(str(text))}</h3>")

    def row(
        self, *, icon: str = "•", label: object = "", meta: str = "", detail: str = "", error: object = None
    ) -> None:
        """Add a step.

        Args:
            icon: A character or other HTML in front.
            label: The name of the step, shown as it is.
            meta: A remark in grey, such as its duration, shown as it is.
            detail: More about it, as HTML; :func:`abbreviate` makes that of a value.
            error: Why it failed: an exception or a text.
        """
        more = f" — {detail}" if detail else ""
        failed = f' <span class="flyteray-error">⚠ {abbreviate(error, _ERROR)}</span>' if error else ""
        self._add(
            f'<div class="flyteray-row">{icon} <b>{escape(str(label))}</b> '
            f'<span class="flyteray-quiet">{escape(meta)}</span>{more}{failed}</div>'
        )

    def _add(self, content: str) -> None:
        report = self._home if task_context.get() is None else current_report()
        report.get_tab(self._tab_name).log(content)


def abbreviate(value: object, limit: int = 300) -> str:
    """A value as HTML for a report: its ``str``, escaped; None is empty.

    What is longer than ``limit`` characters is cut, and opens when it is clicked on, up to 20,000 characters.
    """
    text = "" if value is None else str(value)
    if len(text) <= limit:
        return escape(text)
    more = f"\n… and {len(text) - _MOST:,} characters more" if len(text) > _MOST else ""
    return (
        f"<details><summary>{escape(text[:limit])}… (+{len(text) - limit:,})</summary>"
        f"<pre>{escape(text[:_MOST])}{more}</pre></details>"
    )


def duration_ms(start_iso: object, end_iso: object) -> str:
    """The time between two moments in ISO 8601, such as ``"250 ms"``; empty where one is missing or is no such text."""
    try:
        return f"{(_moment(end_iso) - _moment(start_iso)).total_seconds() * 1000:.0f} ms"
    except (ValueError, TypeError):  # what traces of others hold; of two, one may have no time zone
        return ""


def _moment(text: object) -> datetime:
    # Python 3.10 knows neither Z nor fractions of another length.
    plain = str(text).removesuffix("Z") + "+00:00" if str(text).endswith("Z") else str(text)
    return datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", plain))
