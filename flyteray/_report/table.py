"""A table of a report shows the first rows of a DataFrame, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from flyteray._report.piece import Piece

ROWS = 500
COLUMNS = 100
CLASS = "flyteray-table"
_LONGEST = 200  # characters of a cell


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], count: int) -> Piece:
    """A table of columns by name and the first of ``count`` rows."""
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
        adapts=True,
    )


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
