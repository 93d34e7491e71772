"""Each kind of value that a report takes, made by the library that it is of."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path
from typing import Any

import altair
import numpy as np
import pandas as pd
import plotly.graph_objects
import polars as pl
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flyteray._report.content import renderer
from flyteray._report.piece import ROWS, Piece
from flyteray.report import Report

NAMES = ["name", "size"]
FRAME = pd.DataFrame({"name": ["a<b", "c"], "size": [1.5, 2.0]})


def shown(content: Any) -> Piece:
    return renderer(content)()


def pictured(content: Any) -> Image.Image:
    """The picture that a value is shown as."""
    kind, data = re.findall(r'src="data:image/(\w+);base64,([^"]*)"', shown(content).html)[0]
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format == kind.upper()
    return picture


class Text(str):
    __slots__ = ()


def test_text_is_html_as_it_is() -> None:
    assert shown("<b>&amp;</b>") == Piece("<b>&amp;</b>")
    assert type(shown(Text("<b>")).html) is str


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        pl.DataFrame({"name": ["a<b", "c"], "size": [1.5, 2.0]}),
        pa.table({"name": ["a<b", "c"], "size": [1.5, 2.0]}),
        pa.record_batch({"name": ["a<b", "c"], "size": [1.5, 2.0]}),
    ],
    ids=["pandas", "polars", "table", "batch"],
)
def test_a_data_frame_is_a_table(frame: Any) -> None:
    html = shown(frame).html

    assert [name for name in NAMES if f"<th>{name}</th>" in html] == NAMES
    assert "<td>a&lt;b</td>" in html
    assert "<td>1.5</td>" in html
    assert "2 rows × 2 columns" in html  # noqa: RUF001  # the sign of pandas


def test_a_series_is_a_table_of_one_column() -> None:
    assert "<th>size</th>" in shown(FRAME["size"]).html
    assert "<th>size</th>" in shown(pl.Series("size", [1, 2])).html


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_of_a_large_frame_some_rows_and_columns_are_shown_and_how_many_there_are(make: Any) -> None:
    html = shown(make({f"c{number}": np.arange(20_000) for number in range(150)})).html

    assert html.count("<tr") <= ROWS + 3
    assert len(html) < 4_000_000
    assert "20000 rows × 150 columns" in html  # noqa: RUF001  # as above


def test_a_long_cell_is_cut() -> None:
    assert len(shown(pl.DataFrame({"a": ["x" * 10_000]})).html) < 1000


def drawn() -> Figure:
    figure = Figure(figsize=(4, 3), dpi=100)
    figure.add_subplot().plot([1, 3, 2])
    return figure


def test_a_figure_of_matplotlib_is_a_sharp_picture() -> None:
    picture = pictured(drawn())
    width = re.findall(r'width="(\d+)"', shown(drawn()).html)

    assert picture.width > 600
    assert [int(each) for each in width] == [picture.width // 2]


def test_parts_of_a_figure_are_shown_as_the_figure() -> None:
    figure = Figure(figsize=(4, 3), dpi=100)
    left, right = figure.subfigures(1, 2)
    axes = left.add_subplot(), right.add_subplot()

    whole = pictured(figure).size
    assert [pictured(part).size for part in (left, *axes)] == [whole] * 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "F"])
def test_an_image_is_a_png(mode: str) -> None:
    assert pictured(Image.new(mode, (5, 3))).size == (5, 3)


def test_an_image_that_was_a_jpeg_stays_one(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "photo.jpg")

    assert pictured(Image.open(tmp_path / "photo.jpg")).format == "JPEG"


def test_a_figure_of_plotly_brings_the_library_once_for_all() -> None:
    figure = plotly.graph_objects.Figure(plotly.graph_objects.Scatter(x=[1, 2], y=[2, 1]))
    report = Report("work")
    for name in ("main", "main", "other"):
        report.get_tab(name).log(figure)

    page = report.get_final_report()
    assert page.count("Plotly.newPlot(") >= 3
    assert page.count("plotly.js v") == 1
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=", page)


def test_a_chart_of_altair_brings_the_library() -> None:
    chart = altair.Chart(pd.DataFrame({"x": ["</script>"], "y": [2]})).mark_bar().encode(x="x", y="y")
    report = Report("work")
    report.get_tab("main").log(chart)

    page = report.get_final_report()
    assert "window.vegaEmbed=" in page
    assert "\\u003c/script>" in page
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=", page)


def test_a_chart_of_altair_without_its_javascript_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    with pytest.raises(ModuleNotFoundError, match="pip install vl-convert-python"):
        shown(altair.Chart(FRAME).mark_bar().encode(x="name"))


class Html:
    def _repr_html_(self) -> str:
        return "<i>html</i>"


class Bundle:
    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return {"text/plain": "plain", "text/html": "<i>bundle</i>"}, {}


class Svg:
    def _repr_html_(self) -> None:
        return None

    def _repr_svg_(self) -> str:
        return "<svg></svg>"


class Png:
    def _repr_png_(self) -> bytes:
        kept = io.BytesIO()
        Image.new("L", (2, 2)).save(kept, "PNG")
        return kept.getvalue()


class Nothing:
    def _repr_html_(self) -> None:
        return None


class Everything:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: "<b>anything</b>"


def test_whatever_notebooks_show_is_shown() -> None:
    assert shown(Html()).html == "<i>html</i>"
    assert shown(Bundle()).html == "<i>bundle</i>"
    assert shown(Svg()).html == "<svg></svg>"
    assert pictured(Png()).size == (2, 2)
    assert "<style" in shown(FRAME.style.highlight_max()).html


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (3, "an int"),
        (None, "a NoneType"),
        (b"<p>", "a bytes"),
        ({"a": 1}, "a dict"),
        (np.ones(2), "a numpy.ndarray"),
        (Html, "a type"),
        (Everything(), "a tests.unit._report.test_content.Everything"),
    ],
    ids=["int", "None", "bytes", "dict", "array", "class", "everything"],
)
def test_any_other_value_is_refused_by_its_type(content: Any, named: str) -> None:
    with pytest.raises(TypeError) as refused:
        renderer(content)

    assert str(refused.value).startswith(f"A report can't show {named}: it takes HTML as a str, a DataFrame")


def test_an_object_that_shows_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="this Nothing: its _repr_html_ and its like gave no HTML"):
        shown(Nothing())


@pytest.mark.parametrize(
    ("html", "wants"),
    [
        ("<p>plain</p>", False),
        ("<td style='text-align: right'>1</td>", False),
        ("<div style='background:#eef'>x</div>", True),
        ('<td bgcolor="red">x</td>', True),
        ("<style>p { margin: 0 }</style>", True),
    ],
)
def test_html_with_colours_of_its_own_wants_a_white_page(html: str, wants: bool) -> None:
    assert shown(html).paper is wants
