"""A piece of a report is HTML, with the JavaScript library that it calls; a table needs none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

ROWS = 500
COLUMNS = 100
CLASS = "flyteray-table"
_LONGEST = 200  # characters of a cell
_COLOURS = re.compile(r"(?:colou?r|background)\s*[:=]|<style\b", re.IGNORECASE)


class Piece(NamedTuple):
    """A piece of HTML; ``library`` is the JavaScript that the page has to bring for it, or empty.

    ``paper`` tells one that was made for a white page: it has colours of its own, and takes the others as they are
    there.
    """

    html: str
    library: str = ""
    paper: bool = False

    @classmethod
    def of_others(cls, html: str) -> Piece:
        """The HTML of users and their libraries: what names a colour anywhere was made for a white page."""
        return cls(html, paper=_COLOURS.search(html) is not None)


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], count: int) -> Piece:
    """A table of columns by name, which shows the first of ``count`` rows and says how many there are."""
    more = ["…"] if len(names) > COLUMNS else []
    heads = "".join(f"<th>{escape(name)}</th>" for name in [*names[:COLUMNS], *more])
    lines = [
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in [*row[:COLUMNS], *more]) + "</tr>"
        for row in rows
    ]
    if count > len(lines):
        lines.append(f'<tr><td colspan="{len(names[:COLUMNS]) + len(more)}">…</td></tr>')
    body = "\n".join(lines)
    size = f"{count} rows × {len(names)} columns"  # noqa: RUF001  # the sign of pandas
    return Piece(
        f'<table class="{CLASS}">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n'
        f"<p>{size}</p>",
    )


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
