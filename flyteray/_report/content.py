"""Content is whatever users put into a report: each kind becomes a piece of HTML in its own way.

Libraries are recognised without importing them: who has an object of theirs has imported them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flyteray._report import figures
from flyteray._report.piece import CLASS, COLUMNS, ROWS, Piece, table

_Render = Callable[[Any], Piece]

_TAKEN = (
    "HTML as a str, a DataFrame (pandas, polars, arrow), a figure (matplotlib, plotly, altair), a PIL image, or an "
    "object that notebooks show, by _repr_html_ or its like"
)
_METHODS = {
    "text/html": "_repr_html_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
}


def renderer(content: Any) -> Callable[[], Piece]:
    """What makes HTML of a value when it is called; TypeError: nothing is known that does."""
    if isinstance(content, str):
        return lambda: Piece.of_others(str(content))
    found = None if isinstance(content, type) else _known(content) or _as_notebooks_do(content)
    if found is None:
        raise TypeError(
            f"A report can't show {_article(type(content))}: it takes {_TAKEN}. Of anything else, log "
            'f"<pre>{html.escape(str(value))}</pre>".'
        )
    return functools.partial(found, content)


def _known(content: Any) -> _Render | None:
    """How an object of a library that is known is shown; by class, as each of them has other methods for it."""
    kinds: dict[tuple[str, str], _Render] = {
        ("pandas", "DataFrame"): _pandas,
        ("pandas", "Series"): lambda series: _pandas(series.to_frame()),
        ("polars", "DataFrame"): _polars,
        ("polars", "Series"): lambda series: _polars(series.to_frame()),
        ("pyarrow", "Table"): _arrow,
        ("pyarrow", "RecordBatch"): _arrow,
        ("PIL.Image", "Image"): figures.image,
        ("matplotlib.figure", "FigureBase"): figures.matplotlib,
        ("matplotlib.axes", "Axes"): figures.matplotlib,
        ("plotly.basedatatypes", "BaseFigure"): figures.plotly,
        ("altair", "TopLevelMixin"): figures.altair,
    }
    for (module, name), render in kinds.items():
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(content, kind):
            return render
    # What saves itself as figures of matplotlib do: the grids of seaborn.
    return figures.matplotlib if callable(getattr(type(content), "savefig", None)) else None


def _pandas(frame: Any) -> Piece:
    made = frame.to_html(max_rows=ROWS, max_cols=COLUMNS, show_dimensions=True, border=0, classes=CLASS)
    return Piece(made)


def _polars(frame: Any) -> Piece:
    return table(frame.columns, frame.head(ROWS).rows(), frame.height)


def _arrow(found: Any) -> Piece:
    names = found.schema.names
    first = found.slice(0, ROWS)
    columns = [first.column(number).to_pylist() for number in range(min(len(names), COLUMNS))]
    return table(names, zip(*columns, strict=True), found.num_rows)


def _as_notebooks_do(content: Any) -> _Render | None:
    """How IPython would show an object, whose class says so: some objects claim to have every attribute."""
    kind = type(content)
    if callable(getattr(kind, "_repr_mimebundle_", None)) or any(
        callable(getattr(kind, name, None)) for name in _METHODS.values()
    ):
        return _bundled
    return None


def _bundled(content: Any) -> Piece:
    offered: dict[str, Any] = {}
    if (bundle := getattr(type(content), "_repr_mimebundle_", None)) is not None:
        found = bundle(content, include=None, exclude=None)
        found = found[0] if isinstance(found, tuple) else found
        offered |= found if isinstance(found, Mapping) else {}
    for kind, name in _METHODS.items():
        if offered.get(kind) is None and (method := getattr(type(content), name, None)) is not None:
            found = method(content)
            offered[kind] = found[0] if isinstance(found, tuple) else found
    for kind in ("text/html", "image/svg+xml"):
        if isinstance(offered.get(kind), str):
            return Piece.of_others(offered[kind])
    for kind in ("image/png", "image/jpeg"):
        if isinstance(offered.get(kind), (str, bytes)):
            return figures.picture(kind, offered[kind])
    raise TypeError(
        f"A report can't show this {type(content).__qualname__}: its _repr_html_ and its like gave no HTML and no "
        f"picture. It takes {_TAKEN}."
    )


def _article(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
